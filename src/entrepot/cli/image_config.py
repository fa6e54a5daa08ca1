"""`entrepot config IMAGE`: an image's configuration, as it is."""

from typing import Annotated

import typer

from entrepot.cli.option_groups import takes
from entrepot.cli.output import write_bytes
from entrepot.cli.platform_option import PlatformOption, platform_of
from entrepot.cli.remote_options import remote_options
from entrepot.cli.session import with_client
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import parse_address


@takes(remote=remote_options)
def image(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image, or any other End.")],
    platform: PlatformOption = None,
    *,
    remote: RemoteOptions,
) -> None:
    """Print the configuration of an image as it is: environment, entry point, history.

    It is that of this machine's platform unless --platform tells another.
    """
    address, wanted = parse_address(image), platform_of(platform)

    async def work(client: Client) -> bytes:
        from entrepot.cli.single_image import found
        from entrepot.services.image_content import read_small_blob

        source, one = await found(client, address, remote, wanted)
        return await read_small_blob(source, one.manifest.config)

    write_bytes(with_client(work))
