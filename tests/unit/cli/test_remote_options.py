"""Registry options: once for one registry, and per side for two."""

import inspect
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from entrepot.cli.help_text import Command
from entrepot.cli.option_groups import takes
from entrepot.cli.remote_options import remote_options, two_remotes
from entrepot.cli.words import normalised
from entrepot.client import RemoteOptions

Parse = Callable[..., Any]
Type = Callable[[str], None]


def command(**groups: Any) -> Parse:
    """Return what parses words with these groups and returns their values."""
    app = typer.Typer(rich_markup_mode=None)
    given: list[dict[str, Any]] = []

    def collect(**values: Any) -> None:
        given.append(values)

    collect.__signature__ = inspect.Signature()  # type: ignore[attr-defined]
    app.command(cls=Command)(takes(**groups)(collect))

    def parse(*words: str) -> Any:
        typer.main.get_command(app).main(normalised(words)[1], "program", standalone_mode=False)
        return given.pop()

    return parse


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Type:
    """Return what puts text on standard input, descriptor 0, as `os.read` sees it."""

    def put(text: str) -> None:
        left = bytearray(text.encode())

        def read(descriptor: int, length: int) -> bytes:
            assert descriptor == 0
            taken = bytes(left[:length])
            del left[:length]
            return taken

        monkeypatch.setattr(os, "read", read)

    return put


ONE = command(remote=remote_options)
TWO = command(remotes=two_remotes)


def test_nothing_given_is_the_default() -> None:
    assert ONE() == {"remote": RemoteOptions()}
    assert TWO() == {"remotes": (RemoteOptions(), RemoteOptions())}


def test_every_option_finds_its_field() -> None:
    words = ["--authfile", "/a", "--plain-http", "--ca-file", "/ca", "--cert", "/c", "--key", "/k"]
    words += ["--proxy", "socks5h://127.0.0.1:1080", "--retries", "2"]
    words += ["--allow-realm", "a.example", "--allow-realm", "b.example:5000"]
    assert ONE(*words)["remote"] == RemoteOptions(
        authfile=Path("/a"),
        plain_http=True,
        ca_file=Path("/ca"),
        client_certificate=Path("/c"),
        client_key=Path("/k"),
        proxy="socks5h://127.0.0.1:1080",
        allowed_realms=("a.example", "b.example:5000"),
        retries=2,
    )


@pytest.mark.parametrize("word", ["--tls-verify=false", "--no-tls-verify", "--insecure"])
def test_certificates_can_be_left_unchecked(word: str) -> None:
    assert ONE(word)["remote"].tls_verify is False


def test_a_password_is_a_line_of_standard_input(type_in: Type) -> None:
    type_in("pass word\r\nwhat follows")
    assert ONE("-u", "me", "--password-stdin")["remote"] == RemoteOptions(
        username="me", password="pass word"
    )
    assert os.read(0, 4) == b"what"


def test_two_passwords_are_two_lines(type_in: Type) -> None:
    type_in("one\ntwo\n")
    words = ["--src-username", "a", "--src-password-stdin"]
    words += ["--dest-username", "b", "--dest-password-stdin"]
    source, target = TWO(*words)["remotes"]
    assert (source.username, source.password) == ("a", "one")
    assert (target.username, target.password) == ("b", "two")


def test_a_side_has_its_own_and_else_what_is_given_for_both(type_in: Type) -> None:
    type_in("secret\n")
    words = ["-u", "me", "--password-stdin", "--retries", "1", "--dest-retries", "9"]
    words += ["--src-tls-verify=false", "--dest-anonymous"]
    source, target = TWO(*words)["remotes"]
    assert source == RemoteOptions(username="me", password="secret", retries=1, tls_verify=False)
    assert target == RemoteOptions(anonymous=True, retries=9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-u", "me:secret"], "--password-stdin"),
        (["--password-stdin"], "needs --username"),
        (["--cert", "/c"], "belong together"),
        (["--key", "/k"], "belong together"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(typer.BadParameter, match=message):
        ONE(*words)


def test_a_name_and_no_login_contradict_each_other(type_in: Type) -> None:
    type_in("secret\n")
    with pytest.raises(typer.BadParameter, match="contradict"):
        ONE("-u", "me", "--password-stdin", "--anonymous")


def test_an_empty_password_is_none(type_in: Type) -> None:
    type_in("")
    with pytest.raises(typer.BadParameter, match="no password"):
        ONE("-u", "me", "--password-stdin")


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(typer.BadParameter, match="no terminal"):
        ONE("-u", "me")


def test_secrets_are_not_in_what_is_shown(type_in: Type) -> None:
    type_in("secret\n")
    assert "secret" not in repr(ONE("-u", "me", "--password-stdin"))
