"""`entrepot validate`: whether an image is what it says it is."""

from collections.abc import Mapping
from typing import Annotated, Final

import typer

from entrepot.cli import progress
from entrepot.cli.destinations import shown
from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import OutputOption, print_json, print_lines, table
from entrepot.cli.remote_options import remote_options
from entrepot.cli.session import with_client
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import parse_address
from entrepot.oci.digest import Digest
from entrepot.services.validation import Finding, ValidationOptions
from entrepot.services.validation import validate as validated

app = typer.Typer()

_INVALID: Final = 4


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot validate oci-archive:image.tar",
        "entrepot validate --fast -o json registry.example.com/team/app:1",
    ),
)
@takes(remote=remote_options)
def validate(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image, or any other End.")],
    fast: Annotated[
        bool, typer.Option("--fast", help="Read manifests and configs only, no layers.")
    ] = False,
    output: OutputOption = "text",
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print findings only, and no progress.")
    ] = False,
    *,
    remote: RemoteOptions,
) -> int:
    """Read all of an image and compare it with what it says of itself.

    Every byte is hashed, every layer unpacked in passing. The exit code is 4 if anything is
    broken. With -o json: digest, valid, and findings, each with severity, subject, media_type,
    problem.
    """
    address = parse_address(image)

    async def work(client: Client) -> tuple[Digest, list[Finding]]:
        source = await client.source(address, remote)
        root = await source.resolve(address.reference)
        with progress.shown(quiet) as report:
            return root.digest, await validated(source, root, report, ValidationOptions(fast))

    digest, findings = with_client(work)
    broken = any(one.severity == "error" for one in findings)
    if output == "json":
        print_json(
            {
                "digest": str(digest),
                "valid": not broken,
                "findings": [_fields(one) for one in findings],
            }
        )
    else:
        print_lines(table([(one.severity, one.subject, one.problem) for one in findings]))
        if not quiet:
            print(f"{shown(address)} is {'not valid' if broken else 'valid'}")
            print(digest)
    return _INVALID if broken else 0


def _fields(finding: Finding) -> Mapping[str, str]:
    return {
        "severity": finding.severity,
        "subject": str(finding.subject),
        "media_type": finding.media_type,
        "problem": finding.problem,
    }
