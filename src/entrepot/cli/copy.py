"""`entrepot cp`: an image from any End to any other."""

from typing import Annotated

import typer

from entrepot.cli import move
from entrepot.cli.destinations import named_like
from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import OutputOption, QuietOption
from entrepot.cli.remote_options import two_remotes
from entrepot.cli.transfer_options import ManifestFormOption, Selection, selection
from entrepot.client import RemoteOptions
from entrepot.oci.address import parse_address

app = typer.Typer()


@app.command(
    "cp",
    cls=Command,
    epilog=examples(
        "entrepot cp alpine:3.20 registry.example.com/base/alpine:3.20",
        "entrepot cp --platform linux/arm64 alpine:3.20 oci:images:arm",
        "entrepot cp --dest-tls-verify=false --dest-username me docker://a.example/x b.example/x",
        "entrepot cp docker-archive:image.tar store:tools/image:1",
    ),
)
@takes(what=selection, remotes=two_remotes)
def copy(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Image, or any other End.")],
    destination: Annotated[
        str, typer.Argument(metavar="DESTINATION", help="Image, or any other End.")
    ],
    form: ManifestFormOption = None,
    output: OutputOption = "text",
    quiet: QuietOption = False,
    *,
    what: Selection,
    remotes: tuple[RemoteOptions, RemoteOptions],
) -> None:
    """Copy an image.

    Bytes are copied as they are, so digests stay: all platforms, unless --platform chooses, and
    unless --format asks for conversion. What the destination has already is not sent; what it
    can take from another of its repositories is mounted.

    Source and destination are written docker://HOST/NAME[:TAG][@DIGEST], where docker:// may be
    left out, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME[:TAG]],
    store:[DIR:]NAME[:TAG], or - for an OCI archive on standard input or output. A destination
    without a tag gets that of the source, or `latest`.

    Each registry option also exists as --src-… and --dest-…, for one side alone.
    """
    start = parse_address(source)
    end = named_like(start, parse_address(destination))
    one = move.Move(start, end, *remotes)
    move.run(one, what.options(form), output, quiet)
