"""How a command starts: it loads itself and nothing else; completion and help know all."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from entrepot.cli import commands
from entrepot.cli.families import COMMANDS, Families
from entrepot.cli.main import main

HEAVY = {"rich", "yaml", "sqlalchemy", "structlog", "uvloop", "tarfile", "h2", "alembic"}
NOT_OURS = {
    "entrepot.bootstrap",
    "entrepot.config",
    "entrepot.services.transfer",
    "entrepot.server",
}


def loaded_by(*words: str) -> set[str]:
    """Return the modules that are loaded when a command has run."""
    code = (
        "import json, sys; from entrepot.cli.main import main; main(sys.argv[1:]);"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_digest_loads_little() -> None:
    loaded = loaded_by("digest", "--retries", "0", "127.0.0.1:1/a:1")
    assert "entrepot.adapters.remotes.registry" in loaded
    assert loaded & (HEAVY | NOT_OURS) == set()


def test_a_command_does_not_load_the_others() -> None:
    ours = {name for name in loaded_by("version") if name.startswith("entrepot.cli.")}
    assert "entrepot.cli.version" in ours
    assert {f"entrepot.cli.{module}" for module in COMMANDS.values()} & ours == {
        "entrepot.cli.version"
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_the_table_says(name: str) -> None:
    command = Families()[name]
    assert command.name == name
    assert command.hidden or command.epilog, f"{name} has no example"


def all_commands() -> list[Any]:
    root = typer.main.get_command(commands.app)
    found = [root.commands[name] for name in COMMANDS]  # type: ignore[attr-defined]
    return found + [one for group in found for one in getattr(group, "commands", {}).values()]


def test_every_option_says_what_it_is_for() -> None:
    missing = [
        f"{command.name} {option.opts}"
        for command in all_commands()
        for option in command.params
        if not option.help
    ]
    assert missing == []


def test_an_option_means_the_same_everywhere() -> None:
    """A short name stands for one long name, but for `-o`, which is also docker's `--output`."""
    known: dict[str, set[str]] = {}
    for command in all_commands():
        for option in command.params:
            short = [name for name in option.opts if len(name) == 2 and name[0] == "-"]
            for name in short:
                known.setdefault(name, set()).add(max(option.opts, key=len))
    assert {name: longs for name, longs in known.items() if len(longs) > 1} == {}


def test_help_shows_examples_as_they_are_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: entrepot pull [OPTIONS] IMAGE [DESTINATION]\n")
    assert "\nRegistry options:\n" in shown
    assert "\nExamples:\n  entrepot pull alpine:3.20\n" in shown


@pytest.mark.parametrize(
    ("word", "command"), [("pul", "pull"), ("inspekt", "inspect"), ("valdate", "validate")]
)
def test_a_typing_error_is_recognised(
    word: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 64
    assert f"'{command}'" in capsys.readouterr().err


def complete(*words: str) -> list[str]:
    """Return what bash is offered for the last word."""
    line = " ".join(("entrepot", *words))
    environment = {"_ENTREPOT_COMPLETE": "complete_bash", "COMP_WORDS": line}
    environment["COMP_CWORD"] = str(len(words))
    program = Path(sys.executable).with_name("entrepot")
    done = subprocess.run(
        [program], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_and_options_are_completed() -> None:
    assert complete("pu") == ["pull", "push"]
    assert set(complete("blob", "")) == {"ls", "get", "put"}
    assert complete("pull", "--plat") == ["--platform"]
    assert "--src-username" not in complete("cp", "--src")


@pytest.mark.real("bash")
def test_the_completion_script_is_one() -> None:
    program = Path(sys.executable).with_name("entrepot")
    script = subprocess.run([program, "--show-completion", "bash"], capture_output=True, text=True)
    assert "complete_bash" in script.stdout
    checked = subprocess.run(["bash", "-n"], input=script.stdout, text=True)
    assert checked.returncode == 0
