"""`entrepot attach` and `referrers`: what refers to an image, such as signatures and SBOMs."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from entrepot.cli.edited_image import Making, make
from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import OutputOption, QuietOption, human_size, print_json, print_lines
from entrepot.cli.pairs import AnnotationsOption, pairs
from entrepot.cli.platform_option import PlatformOption, platform_of
from entrepot.cli.remote_options import remote_options
from entrepot.cli.session import with_client
from entrepot.cli.single_image import choice
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import parse_address
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.platform import Platform
from entrepot.ports.image_end import ImageSource
from entrepot.services.artifacts import DEFAULT_FILE_TYPE, ArtifactFile
from entrepot.services.artifacts import attach as attached

app = typer.Typer()

_DEEPEST: Final = 8

ImageArgument = Annotated[str, typer.Argument(metavar="IMAGE", help="The image, or any other End.")]


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot attach --artifact-type application/spdx+json localhost:5000/team/app:1 sbom.json",
        "entrepot attach --artifact-type application/vnd.example.docs localhost:5000/team/app:1 "
        "README.md:text/markdown",
    ),
)
@takes(remote=remote_options)
def attach(
    image: ImageArgument,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE[:TYPE]...", help="Files, each with its media type."),
    ],
    artifact_type: Annotated[
        str, typer.Option("--artifact-type", metavar="TYPE", help="What the files are together.")
    ],
    annotation: AnnotationsOption = None,
    platform: PlatformOption = None,
    output: OutputOption = "text",
    quiet: QuietOption = False,
    *,
    remote: RemoteOptions,
) -> None:
    """Attach files to an image.

    They become an artifact in the image's repository that refers to it. Of a multi-platform image
    the whole is meant, unless --platform tells one. The digest of the artifact is the last line
    of the output.
    """
    address, wanted = parse_address(image), platform_of(platform)
    parts, annotations = [_file(one) for one in files], pairs(annotation)

    async def work(making: Making) -> Descriptor:
        source, root = await making.image_read()
        subject = await _meant(source, root, wanted)
        return await attached(
            subject, parts, artifact_type, annotations, making.target, (), making.report
        )

    make(address, None, work, remote, output, quiet)


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot referrers localhost:5000/team/app:1",
        "entrepot referrers -o json --artifact-type application/spdx+json ghcr.io/team/app:1",
    ),
)
@takes(remote=remote_options)
def referrers(
    image: ImageArgument,
    artifact_type: Annotated[
        str | None,
        typer.Option("--artifact-type", metavar="TYPE", help="Only this type.", show_default=False),
    ] = None,
    platform: PlatformOption = None,
    output: Annotated[
        Literal["tree", "json"],
        typer.Option("--output", "-o", metavar="tree|json", help="Form of what is printed."),
    ] = "tree",
    *,
    remote: RemoteOptions,
) -> None:
    """List what refers to an image, and what refers to that.

    Of a multi-platform image the whole is meant, unless --platform tells one. With -o json:
    subject, and referrers, each with digest, size, media_type, artifact_type, annotations and
    referrers of its own.
    """
    address, wanted = parse_address(image), platform_of(platform)

    async def work(client: Client) -> tuple[Digest, list[dict[str, Any]]]:
        source = await client.source(address, remote)
        subject = await _meant(source, await source.resolve(address.reference), wanted)
        return subject.digest, await _tree(source, subject.digest, artifact_type, _DEEPEST)

    subject, found = with_client(work)
    if output == "json":
        print_json({"subject": str(subject), "referrers": found})
    else:
        print(replace(address, tag=None, digest=subject))
        print_lines(_drawn(found, ""))


async def _meant(source: ImageSource, root: Descriptor, wanted: Platform | None) -> Descriptor:
    return root if wanted is None else (await choice(source, root, wanted)).descriptor


async def _tree(
    source: ImageSource, subject: Digest, artifact_type: str | None, depth: int
) -> list[dict[str, Any]]:
    if depth == 0:
        return []
    return [
        {
            "digest": str(one.digest),
            "size": one.size,
            "media_type": one.media_type,
            "artifact_type": one.artifact_type,
            "annotations": dict(one.annotations),
            "referrers": await _tree(source, one.digest, None, depth - 1),
        }
        for one in await source.referrers(subject, artifact_type)
    ]


def _drawn(found: Sequence[Mapping[str, Any]], before: str) -> Iterator[str]:
    for number, one in enumerate(found, 1):
        last = number == len(found)
        kind = one["artifact_type"] or one["media_type"]
        branch = "└── " if last else "├── "
        yield f"{before}{branch}{one['digest']}  {human_size(one['size'])}  {kind}"
        yield from _drawn(one["referrers"], before + ("    " if last else "│   "))


def _file(text: str) -> ArtifactFile:
    """Read `FILE[:TYPE]`; a file whose name has a colon is one if it is there."""
    path, colon, media_type = text.rpartition(":")
    if not colon or os.path.exists(text):
        return ArtifactFile(Path(text))
    return ArtifactFile(Path(path), media_type or DEFAULT_FILE_TYPE)
