"""All commands put together, run, and their failures turned into exit codes."""

import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from entrepot import __version__
from entrepot.cli import config, failures
from entrepot.cli.serve import serve
from entrepot.cli.version import version

app = typer.Typer(
    name="entrepot",
    help="An OCI registry in one program.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.add_typer(config.app)
app.command()(version)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"entrepot {__version__}")
        raise typer.Exit


@app.callback()
def entrepot(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """An OCI registry in one program."""


def run(words: Sequence[str]) -> int:
    """Run the command that the words name; return its exit code."""
    try:
        # Commands return their exit code, or nothing when all is well.
        return int(typer.main.get_command(app).main(words, "entrepot", standalone_mode=False) or 0)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:
        if "--debug" in words:
            traceback.print_exception(error)
        return failures.report(error)
