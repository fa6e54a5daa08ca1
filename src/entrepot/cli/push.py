"""`entrepot push`: an image out of a folder or a file into a registry."""

import os
from dataclasses import replace
from typing import Annotated

import typer

from entrepot.cli import move
from entrepot.cli.destinations import is_address, named_like
from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import OutputOption, QuietOption
from entrepot.cli.remote_options import remote_options
from entrepot.cli.transfer_options import ManifestFormOption, Selection, selection
from entrepot.client import RemoteOptions, recognise
from entrepot.oci.address import Address, Kind, parse_address
from entrepot.oci.reference import Tag

app = typer.Typer()


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot push alpine registry.example.com/base/alpine:3.20",
        "entrepot push image.tar localhost:5000/tools/image",
        "entrepot push oci:images:arm localhost:5000/tools/image:arm",
        "docker save tools:1 | entrepot push - localhost:5000/tools:1",
    ),
)
@takes(what=selection, remote=remote_options)
def push(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="An image layout's folder, an archive of any kind, - for one on standard input, "
            "or any End with its transport, such as oci:DIR:TAG.",
        ),
    ],
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="Where to push it to, or any other End.")
    ],
    form: ManifestFormOption = None,
    output: OutputOption = "text",
    quiet: QuietOption = False,
    *,
    what: Selection,
    remote: RemoteOptions,
) -> None:
    """Push an image from a folder or a file.

    What kind of folder or archive it is, is seen by what is in it. Without a tag the image gets
    that of the folder or archive, else `latest`. The digest is the last line of the output.
    """
    source = origin(path)
    target = named_like(source, parse_address(image))
    move.run(move.Move(source, target, remote, remote), what.options(form), output, quiet)


def origin(path: str, prefer: Kind = "oci-archive") -> Address:
    """Return the End that a path or an address is; `PATH:TAG` names one image of several.

    Raise NameInvalid if there is nothing, ContentInvalid if it holds no images.
    """
    if is_address(path):
        return parse_address(path)
    name, colon, tag = path.rpartition(":")
    if colon and "/" not in tag and os.path.exists(name) and not os.path.exists(path):
        return replace(recognise(name, prefer), tag=Tag.parse(tag))
    return recognise(path, prefer)
