"""`entrepot index`: multi-platform images made of others."""

from collections.abc import Sequence
from typing import Annotated

import typer

from entrepot.cli.edited_image import Making, TagOption, make, new_place
from entrepot.cli.help_text import Command, Group, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import OutputOption, QuietOption
from entrepot.cli.pairs import AnnotationsOption, pairs
from entrepot.cli.platform_option import read_platform
from entrepot.cli.remote_options import remote_options
from entrepot.cli.transfer_options import ManifestForm
from entrepot.client import RemoteOptions
from entrepot.oci.address import parse_address
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.services.image_indexes import (
    IndexEntry,
    IndexSettings,
    add_to_index,
    create_index,
    remove_from_index,
)

app = typer.Typer(
    cls=Group,
    name="index",
    help="Make multi-platform images of others, and change which they list.",
    epilog=examples("entrepot index create localhost:5000/team/app:1 :1-amd64 :1-arm64"),
)

IndexArgument = Annotated[
    str, typer.Argument(metavar="INDEX", help="The index, as an image or any other End.")
]
ImagesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...",
        help="Images, or other Ends, or :TAG in the same place; of a multi-platform one all.",
    ),
]
NestedOption = Annotated[
    bool, typer.Option("--nested", help="List a multi-platform image as it is, as one entry.")
]


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot index create localhost:5000/team/app:1 :1-amd64 :1-arm64",
        "entrepot index create --annotation stage=test oci:images:all oci:images:a oci:images:b",
    ),
)
@takes(remote=remote_options)
def create(
    index: IndexArgument,
    images: ImagesArgument,
    annotation: AnnotationsOption = None,
    artifact_type: Annotated[
        str,
        typer.Option(
            "--artifact-type", metavar="TYPE", help="What the index is.", show_default=False
        ),
    ] = "",
    form: Annotated[
        ManifestForm,
        typer.Option("--format", metavar="docker|oci", help="A manifest list, or an OCI index."),
    ] = "oci",
    nested: NestedOption = False,
    output: OutputOption = "text",
    quiet: QuietOption = False,
    *,
    remote: RemoteOptions,
) -> None:
    """Make an index of images, which are copied to it if they are elsewhere.

    What each is for is read from its config. The digest is the last line of the output.
    """
    settings = IndexSettings(form == "docker", pairs(annotation), artifact_type)
    address = parse_address(index)

    async def work(making: Making) -> Descriptor:
        entries = await _entries(making, images, index, nested, remote)
        return await create_index(entries, settings, making.target, making.tags, making.report)

    make(address, index, work, remote, output, quiet)


@app.command(
    cls=Command,
    epilog=examples("entrepot index add localhost:5000/team/app:1 localhost:5000/team/app:1-riscv"),
)
@takes(remote=remote_options)
def add(
    index: IndexArgument,
    images: ImagesArgument,
    tag: TagOption = None,
    nested: NestedOption = False,
    output: OutputOption = "text",
    quiet: QuietOption = False,
    *,
    remote: RemoteOptions,
) -> None:
    """Add images to an index; the tag moves to the new one unless --tag tells another.

    An image for the same platform gives way. The digest is the last line of the output.
    """
    address = parse_address(index)

    async def work(making: Making) -> Descriptor:
        source, root = await making.image_read()
        entries = await _entries(making, images, index, nested, remote)
        return await add_to_index(source, root, entries, making.target, making.tags, making.report)

    make(address, tag or index, work, remote, output, quiet)


@app.command(
    cls=Command,
    epilog=examples("entrepot index rm localhost:5000/team/app:1 linux/arm/v7 linux/386"),
)
@takes(remote=remote_options)
def rm(
    index: IndexArgument,
    unwanted: Annotated[
        list[str], typer.Argument(metavar="PLATFORM|DIGEST...", help="What is to go.")
    ],
    tag: TagOption = None,
    output: OutputOption = "text",
    quiet: QuietOption = False,
    *,
    remote: RemoteOptions,
) -> None:
    """Take images out of an index; the tag moves to the new one unless --tag tells another.

    The images themselves stay. The digest is the last line of the output.
    """
    address = parse_address(index)
    gone = [Digest.parse(one) if ":" in one else read_platform(one) for one in unwanted]

    async def work(making: Making) -> Descriptor:
        source, root = await making.image_read()
        return await remove_from_index(
            source, root, gone, making.target, making.tags, making.report
        )

    make(address, tag or index, work, remote, output, quiet)


async def _entries(
    making: Making, images: Sequence[str], index: str, nested: bool, remote: RemoteOptions
) -> list[IndexEntry]:
    entries = []
    for image in images:
        address = new_place(parse_address(index), image)
        source = await making.client.source(address, remote)
        descriptor = await source.resolve(address.reference)
        entries.append(IndexEntry(source, descriptor, nested=nested))
    return entries
