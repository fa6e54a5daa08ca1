"""`entrepot serve`: run the registry until told to stop."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from entrepot.cli.help_text import Command, examples
from entrepot.config import load

app = typer.Typer()


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot serve",
        "entrepot serve --listen 0.0.0.0:5000 --data /var/lib/entrepot",
    ),
)
def serve(
    listen: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="HOST:PORT or unix:/path to listen on; may be repeated.",
            show_default="127.0.0.1:5000",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where everything is kept.", show_default="entrepot-data"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML or YAML file with further settings.")
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N", help="Worker processes; 0 is automatic.", show_default="0"),
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Serve HTTPS with this PEM certificate.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificate's private key.")
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        typer.Option(help="The least severe messages to log.", show_default="info"),
    ] = None,
) -> int:
    """Run the registry.

    Every setting can also stand in a file or in the environment: see `entrepot config show`.
    """
    settings = load(
        config,
        os.environ,
        {
            "server.listen": listen or None,
            "storage.path": data,
            "server.workers": workers,
            "server.tls_certificate": tls_certificate,
            "server.tls_key": tls_key,
            "log.level": log_level,
        },
    )
    # The server is a lot to import; other commands and mistakes in the settings do without.
    from entrepot import bootstrap

    return bootstrap.serve(settings)
