"""One image made of another: what append, mutate, rebase, flatten and index have in common.

The new image goes where `--tag` says, or, without a tag, into the repository of the old one.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from entrepot.cli import progress
from entrepot.cli.destinations import shown, target_tags
from entrepot.cli.move import Move
from entrepot.cli.output import Form, print_json
from entrepot.cli.platform_option import platform_of
from entrepot.cli.session import with_client
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import Address, parse_address
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import ImageSource, ImageTarget
from entrepot.services.image_editing import EditOptions
from entrepot.services.progress import Report

TagOption = Annotated[
    str | None,
    typer.Option(
        "--tag",
        "-t",
        metavar="IMAGE|:TAG",
        help="What the new image is called: any image or other End, or :TAG in the same place. "
        "Without it, it gets no tag, and is known by its digest.",
        show_default=False,
    ),
]
"""`--tag` of commands that make an image of another."""


@dataclass(frozen=True, slots=True)
class Making:
    """What an edit works with: its Ends, and the tags that the new image gets."""

    client: Client
    remote: RemoteOptions
    image: Address
    target: ImageTarget
    tags: tuple[Tag, ...]
    report: Report

    async def image_read(self) -> tuple[ImageSource, Descriptor]:
        """Open the End of the image that is edited, and return it with what it stands for."""
        source = await self.client.source(self.image, self.remote)
        return source, await source.resolve(self.image.reference)


def which_images(
    *,
    platform: Annotated[
        str | None,
        typer.Option(
            "--platform",
            metavar="OS/ARCH[/VARIANT]",
            help="Which image of a multi-platform one is edited.",
            show_default=False,
        ),
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--all", "-a", help="Edit all images of a multi-platform one.")
    ] = False,
    keep_index: Annotated[
        bool,
        typer.Option(
            "--keep-index", help="The result is the whole index, with the edited image in it."
        ),
    ] = False,
) -> EditOptions:
    """Read which images of an index are edited. Raise BadParameter for contradictions."""
    if platform and everywhere:
        raise typer.BadParameter("--platform and --all contradict each other")
    return EditOptions(platform=platform_of(platform), everywhere=everywhere, keep_index=keep_index)


def new_place(image: Address, tag: str | None) -> Address:
    """Return where the new image goes; without a tag and a digest if it gets no name."""
    if tag is None:
        return replace(image, tag=None, digest=None)
    if tag.startswith(":"):
        return replace(image, tag=Tag.parse(tag[1:]), digest=None)
    return parse_address(tag)


def make(
    image: Address,
    tag: str | None,
    work: Callable[[Making], Awaitable[Descriptor]],
    remote: RemoteOptions,
    output: Form,
    quiet: bool,
) -> None:
    """Make an image of another, publish it, and print what it is; its digest is the last line.

    With `-o json`: source, destination, digest, media_type, size, tags.
    """
    place = new_place(image, tag)
    one = Move(image, place, remote, remote, () if tag is None else target_tags(image, place))

    async def within(client: Client) -> Descriptor:
        async with AsyncExitStack() as opened:
            target = await client.target(one.target, remote)
            opened.push_async_callback(target.close)
            with progress.shown(quiet) as report:
                made = await work(Making(client, remote, image, target, one.tags or (), report))
            await target.commit()
            return made

    made = with_client(within)
    tags = one.tags or ()
    if output == "json":
        print_json(
            {
                "source": str(image),
                "destination": str(place),
                "digest": str(made.digest),
                "media_type": made.media_type,
                "size": made.size,
                "tags": [str(one) for one in tags],
            }
        )
        return
    if not quiet:
        named = shown(place if tags else replace(place, digest=made.digest), tags)
        print(f"{shown(image)} -> {named}")
    print(made.digest)
