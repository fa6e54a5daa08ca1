"""`entrepot export`: an image's root file system as a tar."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from entrepot.cli import progress
from entrepot.cli.destinations import STREAM, shown
from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import QuietOption, refuse_terminal
from entrepot.cli.platform_option import PlatformOption, platform_of
from entrepot.cli.remote_options import remote_options
from entrepot.cli.session import with_client
from entrepot.cli.single_image import found
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import parse_address
from entrepot.oci.digest import Digest
from entrepot.services.flattening import export as exported

app = typer.Typer()


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot export alpine:3.20 -o rootfs.tar",
        "entrepot export --platform linux/arm64 alpine:3.20 | tar -t",
    ),
)
@takes(remote=remote_options)
def export(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image, or any other End.")],
    file: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="The tar, or - for standard output."),
    ] = STREAM,
    platform: PlatformOption = None,
    quiet: QuietOption = False,
    *,
    remote: RemoteOptions,
) -> None:
    """Write the files of an image as one tar, as docker export does of a container.

    Nothing is unpacked on the way, so no rights are needed. It is this machine's platform unless
    --platform tells another. A file gets its name when it is whole; the digest of the image is
    the last line of the output.
    """
    address, wanted = parse_address(image), platform_of(platform)
    if file == STREAM:
        refuse_terminal()

    async def work(client: Client) -> Digest:
        source, one = await found(client, address, remote, wanted)
        with progress.shown(quiet) as report, _opened(file) as tar:
            async for chunk in exported(source, one.descriptor, report):
                await asyncio.to_thread(tar.write, chunk)
            await asyncio.to_thread(tar.flush)
        return one.descriptor.digest

    digest = with_client(work)
    told = sys.stderr if file == STREAM else sys.stdout
    if not quiet:
        print(f"{shown(address)} -> {file}", file=told)
    print(digest, file=told)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """Open a file that gets its name at the end, or standard output."""
    if file == STREAM:
        yield sys.stdout.buffer
        return
    path = Path(file)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            yield opened
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
