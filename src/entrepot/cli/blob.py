"""`entrepot blob`: single blobs of a repository, as they are."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, BinaryIO, Final, cast

import typer

from entrepot.cli import progress
from entrepot.cli.destinations import STREAM
from entrepot.cli.help_text import Command, Group, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import (
    OutputOption,
    QuietOption,
    human_size,
    print_json,
    print_lines,
    table,
)
from entrepot.cli.platform_option import PlatformOption, platform_of
from entrepot.cli.remote_options import remote_options
from entrepot.cli.session import with_client
from entrepot.cli.single_image import found
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import parse_address
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Hasher
from entrepot.services.image_editing import put_file
from entrepot.services.layer_spool import SpooledLayer, unnamed_file, write_spooled
from entrepot.services.progress import Event
from entrepot.services.verified_blob import VerifiedBlob

app = typer.Typer(
    cls=Group,
    name="blob",
    help="List, read and write single blobs of a repository.",
    epilog=examples("entrepot blob ls alpine:3.20"),
)

_BYTES: Final = "application/octet-stream"
_CHUNK: Final = 1 << 20


@app.command("ls", cls=Command, epilog=examples("entrepot blob ls -o json alpine:3.20"))
@takes(remote=remote_options)
def list_blobs(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image, or any other End.")],
    platform: PlatformOption = None,
    output: OutputOption = "text",
    *,
    remote: RemoteOptions,
) -> None:
    """List the blobs of an image: its config and its layers.

    With -o json: blobs, each with digest, size, media_type.
    """
    address, wanted = parse_address(image), platform_of(platform)

    async def work(client: Client) -> list[Descriptor]:
        _, one = await found(client, address, remote, wanted)
        return [one.manifest.config, *one.manifest.layers]

    blobs = with_client(work)
    if output == "json":
        print_json(
            {
                "blobs": [
                    {"digest": str(one.digest), "size": one.size, "media_type": one.media_type}
                    for one in blobs
                ]
            }
        )
    else:
        rows = [(one.digest, human_size(one.size), one.media_type) for one in blobs]
        print_lines(table(rows))


@app.command(
    cls=Command,
    epilog=examples("entrepot blob get alpine@sha256:… > layer.tar.gz"),
)
@takes(remote=remote_options)
def get(
    blob: Annotated[
        str, typer.Argument(metavar="NAME@DIGEST", help="A blob of a repository in a registry.")
    ],
    *,
    remote: RemoteOptions,
) -> None:
    """Write a blob to standard output.

    It is verified while it is written: only if the exit code is 0, it was whole.
    """
    address = parse_address(blob)
    if address.digest is None or address.kind != "docker":
        raise typer.BadParameter(f"{blob!r} is no blob of a registry; write NAME@DIGEST")
    digest = address.digest

    async def work(client: Client) -> None:
        repository = client.repository(address, remote)
        size = await repository.blob_size(digest)
        content = VerifiedBlob(repository, Descriptor(_BYTES, digest, size), _untold)
        chunks = content.read()
        assert isinstance(chunks, AsyncGenerator)
        async with aclosing(chunks):
            async for chunk in chunks:
                await asyncio.to_thread(sys.stdout.buffer.write, chunk)
        await asyncio.to_thread(sys.stdout.buffer.flush)

    with_client(work)


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot blob put localhost:5000/team/app layer.tar.gz",
        "tar -c . | entrepot blob put localhost:5000/team/app -",
    ),
)
@takes(remote=remote_options)
def put(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A repository in a registry.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="The bytes; - for standard input.")],
    quiet: QuietOption = False,
    *,
    remote: RemoteOptions,
) -> None:
    """Store a blob in a repository. Its digest is what is printed.

    Most registries remove a blob that no manifest lists after a while.
    """
    address = parse_address(name)

    async def work(client: Client) -> Descriptor:
        repository = client.repository(address, remote)
        blob = await asyncio.to_thread(_read, file)
        try:
            with progress.shown(quiet) as report:
                await put_file(blob, repository, report)
            return blob.descriptor
        finally:
            blob.close()

    print(with_client(work).digest)


def _read(file: str) -> SpooledLayer:
    """Hash a file, or what standard input holds, which is kept in a temporary file."""
    hasher, size = Hasher(), 0
    kept = unnamed_file(None) if file == STREAM else None
    # The blob is read from it again later, so whoever has the blob closes it.
    source = sys.stdin.buffer if kept else cast(BinaryIO, Path(file).open("rb", buffering=0))  # noqa: SIM115
    while chunk := source.read(_CHUNK):
        hasher.update(chunk)
        size += len(chunk)
        if kept is not None:
            write_spooled(kept, chunk)
    return SpooledLayer(Descriptor(_BYTES, hasher.digest(), size), kept or source, file)


def _untold(_event: Event) -> None:
    """Take no notice: the bytes themselves are what is shown."""
