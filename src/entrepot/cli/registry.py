"""`entrepot ping`, `repos` and `tags`: what a registry is and what is in it."""

from typing import Annotated

import typer

from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import OutputOption, print_fields, print_json, print_lines
from entrepot.cli.remote_options import remote_options
from entrepot.cli.session import with_client
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import parse_address, registry_host
from entrepot.ports.remote_registry import Ping, RateLimit

app = typer.Typer()

HostArgument = Annotated[
    str, typer.Argument(metavar="HOST", help="The registry, as host or host:port.")
]


@app.command(
    cls=Command,
    epilog=examples("entrepot ping localhost:5000", "entrepot ping -o json registry.example.com"),
)
@takes(remote=remote_options)
def ping(host: HostArgument, output: OutputOption = "text", *, remote: RemoteOptions) -> None:
    """Ask a registry whether it is there.

    Shows how it speaks, how it wants to be asked for credentials, and whether ours were accepted.
    With -o json: url, http_version, authentication, authorised, api_version, rate_limit (limit,
    remaining, window).
    """
    name = registry_host(host)

    async def work(client: Client) -> tuple[Ping, RateLimit | None]:
        registry = client.registry(name, remote)
        return await registry.ping(), registry.rate_limit

    answer, limit = with_client(work)
    version = answer.headers.get("docker-distribution-api-version", "")
    if output == "json":
        print_json(
            {
                "url": answer.url,
                "http_version": answer.http_version,
                "authentication": answer.authentication,
                "authorised": answer.authorised,
                "api_version": version,
                "rate_limit": limit
                and {
                    "limit": limit.limit,
                    "remaining": limit.remaining,
                    "window": limit.window,
                },
            }
        )
        return
    print_fields(
        {
            "url": answer.url,
            "http version": answer.http_version,
            "api version": version,
            "authentication": answer.authentication or "none asked for",
            "authorised": "yes" if answer.authorised else "no",
            "rate limit": limit and _budget(limit),
        }
    )


@app.command(
    cls=Command,
    epilog=examples("entrepot repos localhost:5000", "entrepot repos -o json localhost:5000"),
)
@takes(remote=remote_options)
def repos(host: HostArgument, output: OutputOption = "text", *, remote: RemoteOptions) -> None:
    """List the repositories of a registry.

    One per line; not every registry tells them. With -o json: registry, repositories.
    """
    name = registry_host(host)

    async def work(client: Client) -> list[str]:
        registry = client.registry(name, remote)
        return [str(one) async for one in registry.repositories()]

    found = with_client(work)
    if output == "json":
        print_json({"registry": name, "repositories": found})
    else:
        print_lines(found)


@app.command(
    cls=Command,
    epilog=examples("entrepot tags alpine", "entrepot tags -o json localhost:5000/team/app"),
)
@takes(remote=remote_options)
def tags(
    image: Annotated[str, typer.Argument(metavar="NAME", help="The repository, or any other End.")],
    output: OutputOption = "text",
    *,
    remote: RemoteOptions,
) -> None:
    """List the tags of a repository.

    Or of a layout or an archive; one per line. With -o json: name, tags.
    """
    address = parse_address(image)

    async def work(client: Client) -> list[str]:
        source = await client.source(address, remote)
        return [str(tag) for tag in await source.tags()]

    found = with_client(work)
    if output == "json":
        name = f"{address.host}/{address.repository}" if address.host else image
        print_json({"name": name, "tags": found})
    else:
        print_lines(found)


def _budget(limit: RateLimit) -> str:
    remaining = "?" if limit.remaining is None else limit.remaining
    window = f" per {limit.window} s" if limit.window else ""
    return f"{remaining} of {limit.limit or '?'} requests left{window}"
