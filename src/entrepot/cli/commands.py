"""All commands put together, run, and their failures turned into exit codes."""

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from entrepot import __version__
from entrepot.cli import failures
from entrepot.cli.families import Families
from entrepot.cli.help_text import Group
from entrepot.cli.words import debugging, normalised

HELP = "An OCI registry, and a client for every other, in one program."


class Root(Group):
    """The program itself: a group that builds a command when it is named."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Families()

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)


app = typer.Typer(
    cls=Root,
    name="entrepot",
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Log what is done, and show tracebacks of errors; also behind the command.",
        ),
    ] = False,
) -> None:
    """An OCI registry, and a client for every other, in one program."""


def run(words: Sequence[str]) -> int:
    """Run the command that the words name; return its exit code."""
    debug, words = normalised(words)
    debugging.set(debug)
    try:
        # Commands return their exit code, or nothing when all is well.
        return int(typer.main.get_command(app).main(words, "entrepot", standalone_mode=False) or 0)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt):
            raise KeyboardInterrupt from None
        return _fail(group, debug)
    except Exception as error:
        return _fail(error, debug)


def _fail(error: BaseException, debug: bool) -> int:
    if debug:
        _print_traceback(error)
    return failures.report(error)


def _print_traceback(error: BaseException) -> None:
    # Even here a secret that a library put into its message must not be seen.
    from entrepot.logs import scrub

    sys.stderr.write(scrub("".join(traceback.format_exception(error))))
