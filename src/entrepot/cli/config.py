"""`entrepot config`: what is set, from where, and whether it is right; and `entrepot config
IMAGE`, an image's configuration."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from entrepot.cli.help_text import Command, Group, examples
from entrepot.cli.image_config import image
from entrepot.config import FILE_VARIABLE, load, reference, resolve

_HELP_WORDS = ("-h", "--help")


class _ImagesToo(Group):
    """A group in which every word that is no command of it is an image."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in _HELP_WORDS:
            args = ["image", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ImagesToo,
    name="config",
    help="Print our own configuration, or an image's.\n\n"
    "`entrepot config IMAGE` is short for `entrepot config image IMAGE`; an image whose name is "
    "that of a command below is written docker://NAME.",
    epilog=examples("entrepot config show", "entrepot config alpine:3.20"),
    subcommand_metavar="COMMAND|IMAGE [ARGS]...",
)
app.command(
    cls=Command,
    epilog=examples(
        "entrepot config alpine:3.20", "entrepot config --platform linux/arm64 alpine:3.20"
    ),
)(image)


@app.command(cls=Command, epilog=examples("entrepot config show -o json"))
def show(
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help=f"TOML or YAML file to read, else what {FILE_VARIABLE} names."
        ),
    ] = None,
    output: Annotated[
        Literal["toml", "json"], typer.Option("--output", "-o", help="Form of the output.")
    ] = "toml",
) -> None:
    """Print the settings in force and where each came from. Secrets are hidden."""
    resolved = resolve(config, os.environ, {})
    write = reference.as_toml if output == "toml" else reference.as_json
    print(write(resolved), end="")


@app.command(cls=Command, epilog=examples("entrepot config check /etc/entrepot.toml"))
def check(
    file: Annotated[
        Path | None,
        typer.Argument(help=f"TOML or YAML file to check, else what {FILE_VARIABLE} names."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same, as other commands have it.")
    ] = None,
) -> None:
    """Look for mistakes in a file and in the environment, and name every one."""
    file = file or config
    load(file, os.environ, {})
    print(f"{file or os.environ.get(FILE_VARIABLE) or 'environment'}: no mistakes")


@app.command("reference", cls=Command, hidden=True)
def print_reference() -> None:
    """Print the page that documents every setting (docs/configuration.md)."""
    print(reference.page(), end="")
