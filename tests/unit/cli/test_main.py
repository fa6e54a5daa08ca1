"""The entry point: exit codes, what errors look like, quiet ends, and a quick version."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest
import typer

from entrepot import __version__
from entrepot.cli import failures
from entrepot.cli.main import main
from entrepot.config import ConfigError, Problem
from entrepot.oci import errors

PROGRAM = (sys.executable, "-m", "entrepot")


def run(words: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *words], text=True, timeout=30, **options)  # type: ignore[call-overload]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--version"], ["--debug", "--version"]):
        assert main(words) == 0
        assert capsys.readouterr().out == f"entrepot {__version__}\n"
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"entrepot {__version__} (Python 3.")


def test_version_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "-o", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["version"] == __version__
    assert set(facts) == {"version", "python", "platform"}


def test_the_version_is_told_without_loading_the_rest() -> None:
    code = (
        "import sys; from entrepot.cli.main import main; main(['--version']);"
        "print(sorted({'typer', 'rich', 'tomllib', 'entrepot.config'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == f"entrepot {__version__}\n[]\n"


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("serve", "config", "version"))
    assert "reference" not in shown


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["serev"], "No such command 'serev'", "entrepot --help"),
        (["serve", "--lisen", ":1"], "No such option: --lisen", "entrepot serve --help"),
        (["serve", "--listen"], "--listen", "entrepot --help"),
        (["serve", "--log-level", "loud"], "--log-level", "entrepot serve --help"),
        (["config"], "Missing command", "entrepot config --help"),
        (["config", "show", "-o", "xml"], "--output", "entrepot config show --help"),
        (["serve", "--workers", "many"], "--workers: server.workers", "a whole number"),
    ],
)
def test_mistakes_on_the_command_line_exit_64(
    words: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 64
    shown = capsys.readouterr()
    first, second = shown.err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert second.startswith("hint: ")
    assert hint in second
    assert shown.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ManifestUnknown("gone"), 2),
        (errors.NameUnknown("gone"), 2),
        (errors.Unauthorized("who are you?"), 3),
        (errors.Denied("not you"), 3),
        (errors.DigestInvalid("not these bytes"), 4),
        (errors.Unavailable("later"), 1),
        (errors.StoreFull("later"), 1),
        (ConfigError([Problem("file", "wrong")]), 1),
        (ConfigError([Problem("--flag", "wrong"), Problem("file", "wrong")]), 1),
        (ConfigError([Problem("--flag", "wrong")]), 64),
        (FileNotFoundError(2, "No such file", "x"), 1),
        (ValueError("?"), 1),
        (ExceptionGroup("", [errors.Denied("a"), errors.Denied("b")]), 3),
        (ExceptionGroup("", [errors.Denied("a"), errors.Unavailable("b")]), 1),
    ],
)
def test_an_error_calls_for_an_exit_code(error: Exception, code: int) -> None:
    assert failures.exit_code(error) == code


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (errors.NameUnknown("there is no a/b"), "error: there is no a/b\n"),
        (OSError(13, "Permission denied", "/data"), "error: /data: Permission denied\n"),
        (OSError("cannot listen on :1"), "error: cannot listen on :1\n"),
        (
            ConfigError([Problem("a:1", "wrong", "be right"), Problem("b", "bad")]),
            "error: a:1: wrong\nhint: be right\nerror: b: bad\n",
        ),
        (
            KeyError("x"),
            "error: unexpected KeyError: 'x'\n"
            "hint: this is a mistake in Entrepot; --debug shows where\n",
        ),
        (
            ValueError("no answer from https://ann:secret@h.example/v2/"),
            "error: unexpected ValueError: no answer from https://ann:***@h.example/v2/\n"
            "hint: this is a mistake in Entrepot; --debug shows where\n",
        ),
        (
            ExceptionGroup(
                "", [errors.Denied("no"), ExceptionGroup("", [errors.Denied("no"), OSError("x")])]
            ),
            "error: no\nerror: x\n",
        ),
        (typer.Abort(), "error: given up: there was no answer\n"),
    ],
)
def test_an_error_is_one_line_and_a_hint(
    error: Exception, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failures.report(error)
    assert capsys.readouterr().err == shown


@pytest.mark.parametrize("behind", [True, False])
def test_debug_shows_the_traceback(behind: bool, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["config", "check", "/nowhere.toml"]
    assert main([*words, "--debug"] if behind else ["--debug", *words]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("error: /nowhere.toml: cannot be read: No such file or directory\n")


@pytest.mark.parametrize("words", [["--version"], ["config", "show"]])
def test_a_closed_pipe_is_no_error_to_talk_about(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as pipe:
        done = run(words, stdout=pipe, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "")


def test_completion_scripts_come_from_the_program_itself() -> None:
    done = run(["--show-completion", "bash"], capture_output=True)
    assert done.returncode == 0
    assert "_ENTREPOT_COMPLETE" in done.stdout
