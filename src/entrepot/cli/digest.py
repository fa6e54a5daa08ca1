"""`entrepot digest`: which manifest a name stands for. A module of its own, because it is run in
loops and must start at once."""

from typing import Annotated

import typer

from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import OutputOption, print_json
from entrepot.cli.platform_option import PlatformOption, platform_of
from entrepot.cli.remote_options import remote_options
from entrepot.cli.session import with_client
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import Address, parse_address
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Tag

app = typer.Typer()

_LATEST = Tag("latest")


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot digest alpine:3.20", "entrepot digest --platform linux/arm64 alpine:3.20"
    ),
)
@takes(remote=remote_options)
def digest(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image, or any other End.")],
    platform: PlatformOption = None,
    output: OutputOption = "text",
    *,
    remote: RemoteOptions,
) -> None:
    """Print an image's digest, and nothing else.

    A registry is only asked with HEAD. Of a multi-platform image it is the digest of its index,
    or with --platform that of one platform's manifest.
    """
    address, wanted = parse_address(image), platform_of(platform)
    found = with_client(lambda client: _resolved(client, address, remote, wanted))
    if output == "json":
        print_json(found.to_json())
    else:
        print(found.digest)


async def _resolved(
    client: Client, address: Address, remote: RemoteOptions, wanted: Platform | None
) -> Descriptor:
    if address.kind == "docker" and wanted is None:
        return await client.repository(address, remote).head(address.reference or _LATEST)
    source = await client.source(address, remote)
    root = await source.resolve(address.reference)
    if wanted is None:
        return root
    # Only who names a platform waits for what chooses one to be imported.
    from entrepot.cli.single_image import choice

    return (await choice(source, root, wanted)).descriptor
