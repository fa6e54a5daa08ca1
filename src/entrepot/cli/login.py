"""`entrepot login` and `logout`."""

import sys
from dataclasses import replace
from typing import Annotated

import typer

from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.remote_options import ask_password, remote_options
from entrepot.cli.session import with_client
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import DOCKER_HUB, registry_host

app = typer.Typer()

HostArgument = Annotated[
    str, typer.Argument(metavar="HOST", help="The registry, as host or host:port.")
]


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot login registry.example.com",
        "entrepot login --username me --password-stdin ghcr.io < token.txt",
    ),
)
@takes(remote=remote_options)
def login(host: HostArgument = DOCKER_HUB, *, remote: RemoteOptions) -> None:
    """Log in to a registry.

    The login is kept where podman, skopeo or docker find it too. Asks for name and password, or
    takes them from --username and --password-stdin. They are tried before they are kept.
    """
    name = registry_host(host)
    if remote.anonymous:
        raise typer.BadParameter("--anonymous is no login")
    if not remote.username:
        remote = _ask(name, remote)
    place = with_client(lambda client: _log_in(client, name, remote))
    print(f"logged in to {name}; the login is kept in {place}")


@app.command(cls=Command, epilog=examples("entrepot logout registry.example.com"))
@takes(remote=remote_options)
def logout(host: HostArgument = DOCKER_HUB, *, remote: RemoteOptions) -> None:
    """Forget the login to a registry."""
    name = registry_host(host)

    async def work(client: Client) -> bool:
        return await client.credentials(remote).erase(name)

    known = with_client(work)
    print(f"logged out of {name}" if known else f"there was no login to {name}")


async def _log_in(client: Client, name: str, remote: RemoteOptions) -> str:
    return await client.credentials(remote).save(name, await client.log_in(name, remote))


def _ask(name: str, remote: RemoteOptions) -> RemoteOptions:
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            "there is no terminal to ask on; use --username and --password-stdin"
        )
    username = typer.prompt(f"Username for {name}", err=True)
    return replace(remote, username=username, password=ask_password("Password: "))
