"""`entrepot config`: what is set, from where, and whether it is right."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from entrepot.config import FILE_VARIABLE, load, reference, resolve

app = typer.Typer(name="config", help="Show and check the configuration.")


@app.command()
def show(
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"TOML file to read, else what {FILE_VARIABLE} names."),
    ] = None,
    output: Annotated[
        Literal["toml", "json"], typer.Option("--output", "-o", help="Form of the output.")
    ] = "toml",
) -> None:
    """Print the settings in force and where each came from. Secrets are hidden."""
    resolved = resolve(config, os.environ, {})
    write = reference.as_toml if output == "toml" else reference.as_json
    print(write(resolved), end="")


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(help=f"TOML file to check, else what {FILE_VARIABLE} names."),
    ] = None,
) -> None:
    """Look for mistakes in a file and in the environment, and name every one."""
    load(file, os.environ, {})
    print(f"{file or os.environ.get(FILE_VARIABLE) or 'environment'}: no mistakes")


@app.command("reference", hidden=True)
def print_reference() -> None:
    """Print the page that documents every setting (docs/configuration.md)."""
    print(reference.page(), end="")
