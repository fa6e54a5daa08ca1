"""`entrepot pull`: an image out of a registry into a folder, an archive or a root file system."""

from pathlib import Path
from typing import Annotated

import typer

from entrepot.cli import move, progress
from entrepot.cli.destinations import FileForm, pull_target, shown
from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import Form, OutputOption, QuietOption, human_size, print_json
from entrepot.cli.remote_options import remote_options
from entrepot.cli.session import with_client
from entrepot.cli.single_image import found
from entrepot.cli.transfer_options import Selection, selection
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import Address, parse_address
from entrepot.services.unpacking import Unpacked, unpack

app = typer.Typer()


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot pull alpine:3.20",
        "entrepot pull alpine:3.20 alpine.tar",
        "entrepot pull --format docker-archive alpine:3.20 - | docker load",
        "entrepot pull --platform linux/arm64 --unpack rootfs alpine:3.20",
    ),
)
@takes(what=selection, remote=remote_options)
def pull(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image, or any other End.")],
    destination: Annotated[
        str | None,
        typer.Argument(
            metavar="DESTINATION",
            help="Where to write: a path, any End, or - for standard output; "
            "without it a folder named like the image.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        FileForm | None,
        typer.Option(
            "--format",
            metavar="oci|oci-archive|docker-archive",
            help="What to write: an image layout (a folder), the same in a tar file, or what "
            "docker load reads. Without it a path that ends in .tar, and standard output, is an "
            "oci-archive, and any other path a layout.",
            show_default=False,
        ),
    ] = None,
    unpack: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the root file system into this folder, which is made, instead.",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = "text",
    quiet: QuietOption = False,
    *,
    what: Selection,
    remote: RemoteOptions,
) -> None:
    """Write an image to a folder or a file.

    Bytes are kept as they are, and of a multi-platform image all platforms are written, unless
    --platform chooses. Only a docker-archive and a root file system hold one: this machine's,
    unless told. The digest is the last line of the output.
    """
    source = parse_address(image)
    if unpack is not None:
        if destination is not None:
            raise typer.BadParameter("give either a destination or --unpack DIR")
        _unpack(source, unpack, what, remote, output, quiet)
        return
    target = pull_target(source, destination, form)
    one = move.Move(source, target, remote, remote)
    move.run(one, what.options(one_platform=target.kind == "docker-archive"), output, quiet)


def _unpack(
    source: Address, folder: Path, what: Selection, remote: RemoteOptions, output: Form, quiet: bool
) -> None:
    if what.everything or len(what.platforms) > 1:
        raise typer.BadParameter("a root file system is for one platform; name one")
    if what.referrers:
        raise typer.BadParameter("--referrers and --unpack contradict each other")
    wanted = what.platforms[0] if what.platforms else None

    async def work(client: Client) -> Unpacked:
        end, one = await found(client, source, remote, wanted)
        target = await client.root_file_system(folder)
        try:
            with progress.shown(quiet) as report:
                return await unpack(end, one.descriptor, target, report, jobs=what.jobs)
        finally:
            await target.close()

    done = with_client(work)
    if output == "json":
        print_json(
            {
                "source": str(source),
                "destination": str(folder),
                "digest": str(done.image.digest),
                "layers": done.layers,
                "entries": done.entries,
                "total_bytes": done.total_bytes,
                "skipped": [
                    {"layer": one.layer, "name": one.name, "reason": one.reason}
                    for one in done.skipped
                ],
            }
        )
        return
    if not quiet:
        print(f"{shown(source)} -> {folder}")
        print(f"layers: {done.layers}; entries: {done.entries}; {human_size(done.total_bytes)}")
    print(done.image.digest)
