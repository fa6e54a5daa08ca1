"""`entrepot append`, `flatten` and `rebase`: images with other layers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from entrepot.cli.edited_image import Making, TagOption, make, which_images
from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import OutputOption, QuietOption
from entrepot.cli.remote_options import remote_options
from entrepot.cli.single_image import choice
from entrepot.client import RemoteOptions
from entrepot.oci.address import parse_address
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.layer_compression import Compression
from entrepot.oci.platform import Platform
from entrepot.services.directory_packing import Packing
from entrepot.services.flattening import Flattening
from entrepot.services.image_editing import EPOCH, Change, EditOptions, edit, new_draft, publish
from entrepot.services.image_layers import NewLayer, layer_of
from entrepot.services.image_layers import append as appended
from entrepot.services.local_platform import local_platform
from entrepot.services.rebasing import Base, told_base
from entrepot.services.rebasing import rebase as rebased

app = typer.Typer()

_SCRATCH = "scratch"

ImageArgument = Annotated[str, typer.Argument(metavar="IMAGE", help="The image, or any other End.")]
CompressionOption = Annotated[
    Literal["gzip", "zstd", "none"],
    typer.Option("--compression", metavar="gzip|zstd|none", help="How a new layer is packed."),
]


@dataclass(frozen=True, slots=True)
class _Packed:
    """How the files of new layers are packed."""

    compression: Compression
    packing: Packing


def _packed(
    *,
    compression: CompressionOption = "gzip",
    prefix: Annotated[
        str,
        typer.Option(
            metavar="DIR",
            help="Where in the image the files of a folder go, for example usr/local.",
            show_default=False,
        ),
    ] = "",
    keep_owner: Annotated[
        bool, typer.Option("--keep-owner", help="Files of a folder keep owners; else it is root.")
    ] = False,
    keep_time: Annotated[
        bool,
        typer.Option(
            "--keep-time",
            help="Files of a folder keep times; else it is 1970, so that "
            "the same files give the same digest.",
        ),
    ] = False,
) -> _Packed:
    packing = Packing(None if keep_time else 0, keep_owner, prefix)
    return _Packed(Compression(compression), packing)


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot append alpine:3.20 rootfs.tar.gz -t localhost:5000/team/app:1",
        "entrepot append --prefix srv/www localhost:5000/nginx:1 site -t :with-site",
        "entrepot append scratch rootfs -t localhost:5000/team/base:1",
    ),
)
@takes(which=which_images, packed=_packed, remote=remote_options)
def append(
    image: Annotated[
        str,
        typer.Argument(metavar="IMAGE", help="The image, any other End, or scratch for none."),
    ],
    layers: Annotated[
        list[Path],
        typer.Argument(
            metavar="LAYER...", help="Tar files (also gzip or zstd) and folders, lowest first."
        ),
    ],
    tag: TagOption = None,
    created: Annotated[
        str, typer.Option(metavar="TIME", help="When, as RFC 3339, for the history.")
    ] = EPOCH,
    output: OutputOption = "text",
    quiet: QuietOption = False,
    *,
    which: EditOptions,
    packed: _Packed,
    remote: RemoteOptions,
) -> None:
    """Put layers on top of an image.

    The same layers on the same image give the same digest. The digest is the last line of the
    output.
    """
    if image == _SCRATCH and (tag is None or tag.startswith(":")):
        raise typer.BadParameter("an image from scratch is in no repository; say where with --tag")

    async def work(making: Making) -> Descriptor:
        async with _made(layers, packed) as ready:
            change = appended(ready, created=created)
            if image == _SCRATCH:
                draft = await change(new_draft(which.platform or _portable(local_platform())))
                return await publish(draft, making.target, making.tags, making.report)
            return await _edited(making, change, which)

    address = parse_address(tag or "" if image == _SCRATCH else image)
    make(address, tag, work, remote, output, quiet)


def _portable(here: Platform) -> Platform:
    """Return this machine's platform without the level of its processor, which what is put into
    layers says nothing about."""
    return replace(here, variant="") if here.architecture in ("amd64", "arm64") else here


@app.command(
    cls=Command,
    epilog=examples("entrepot flatten localhost:5000/team/app:1 -t :flat"),
)
@takes(which=which_images, remote=remote_options)
def flatten(
    image: ImageArgument,
    tag: TagOption = None,
    compression: CompressionOption = "gzip",
    output: OutputOption = "text",
    quiet: QuietOption = False,
    *,
    which: EditOptions,
    remote: RemoteOptions,
) -> None:
    """Make one layer of all layers of an image.

    What upper layers remove is gone then. The digest is the last line of the output.
    """
    address = parse_address(image)

    async def work(making: Making) -> Descriptor:
        flattening = Flattening(making.report, compression=Compression(compression))
        try:
            return await _edited(making, flattening.change, which)
        finally:
            flattening.close()

    make(address, tag, work, remote, output, quiet)


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot rebase localhost:5000/team/app:1 --old-base alpine:3.19 --new-base alpine:3.20 "
        "-t :1-on-3.20",
        "entrepot rebase localhost:5000/team/app:1 -t :1",
    ),
)
@takes(which=which_images, remote=remote_options)
def rebase(
    image: ImageArgument,
    old_base: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="What it was built on; without it what its annotations say.",
            show_default=False,
        ),
    ] = None,
    new_base: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="What it is to stand on; without it what its annotations call its base, as it "
            "is now.",
            show_default=False,
        ),
    ] = None,
    tag: TagOption = None,
    output: OutputOption = "text",
    quiet: QuietOption = False,
    *,
    which: EditOptions,
    remote: RemoteOptions,
) -> None:
    """Put an image on another base without building it anew.

    Its own layers stay as they are; only do it where they do not depend on details of the base.
    The digest is the last line of the output.
    """
    address = parse_address(image)

    async def work(making: Making) -> Descriptor:
        old, new = old_base, new_base
        if old is None or new is None:
            name, digest = await _told(making, which)
            old = old or f"{name.partition('@')[0]}@{digest}"
            new = new or name
        before, after = await _base(making, old, remote), await _base(making, new, remote)
        return await _edited(making, rebased(before, after, making.report), which)

    make(address, tag, work, remote, output, quiet)


async def _edited(making: Making, change: Change, which: EditOptions) -> Descriptor:
    source, root = await making.image_read()
    return await edit(source, root, change, making.target, making.tags, making.report, which)


@asynccontextmanager
async def _made(paths: Sequence[Path], packed: _Packed) -> AsyncIterator[list[NewLayer]]:
    ready: list[NewLayer] = []
    try:
        for path in paths:
            layer = await layer_of(path, compression=packed.compression, packing=packed.packing)
            ready.append(layer)
        yield ready
    finally:
        for one in ready:
            one.close()


async def _told(making: Making, which: EditOptions) -> tuple[str, str]:
    """Return the name and digest of the base, from the annotations. Raise BadParameter."""
    source, root = await making.image_read()
    one = await choice(source, root, which.platform or local_platform())
    name, digest = told_base(one.manifest.annotations)
    if not name or not digest:
        raise typer.BadParameter(
            "the image does not say what it was built on; name --old-base and --new-base"
        )
    return name, digest


async def _base(making: Making, text: str, remote: RemoteOptions) -> Base:
    address = parse_address(text)
    source = await making.client.source(address, remote)
    return Base(source, await source.resolve(address.reference), text)
