"""`entrepot version`: what runs."""

import json
import platform
from typing import Annotated, Literal

import typer

from entrepot import __version__
from entrepot.cli.help_text import Command, examples

app = typer.Typer()


@app.command(cls=Command, epilog=examples("entrepot version -o json"))
def version(
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="Form of the output.")
    ] = "text",
) -> None:
    """Print the version of Entrepot, of Python and of the system."""
    facts = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }
    if output == "json":
        print(json.dumps(facts))
    else:
        print(f"entrepot {facts['version']} (Python {facts['python']}, {facts['platform']})")
