"""docs/cli.md is what the commands say of themselves."""

import re
import shlex
from pathlib import Path
from typing import Any, Final

import typer

from entrepot.cli import commands, reference
from entrepot.cli.families import COMMANDS
from entrepot.cli.words import normalised

PAGE: Final = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference.page(), "write it anew: entrepot docs > docs/cli.md"


def test_every_command_is_on_the_page() -> None:
    headings = re.findall(r"^## `entrepot (\w+)`$", PAGE.read_text(), re.MULTILINE)
    assert headings == [name for name in COMMANDS if name != "docs"]


def test_no_example_has_a_password() -> None:
    examples = "\n".join(re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL))
    assert "--password-stdin" in examples
    assert re.findall(r"--password(?!-stdin)|\s-p\s|://[^/\s]+:[^/\s]+@", examples) == []


def test_every_example_is_understood() -> None:
    """The parser takes each example as it stands, as far as options and arguments go."""
    root = typer.main.get_command(commands.app)
    for name in COMMANDS:
        for command in family(root, name):
            for line in (command.epilog or "").splitlines():
                for part in re.findall(r"(?:^|\| )entrepot ([^|<>]*)", line):
                    parse(root, part)


def family(group: Any, name: str) -> list[Any]:
    """Return a command, and those below it."""
    command = group.commands[name]
    return [command, *(getattr(command, "commands", {}).values())]


def parse(root: Any, line: str) -> None:
    """Parse the words of an example without running it."""
    _, words = normalised(shlex.split(re.sub(r"\$\([^)]*\)", "x", line)))
    context = root.make_context("entrepot", words)
    while hasattr(context.command, "commands"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
