"""How registries are reached: the options that every command has that may talk to one, and the
`--src-…` and `--dest-…` forms of those that talk to two."""

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from entrepot.cli.option_groups import Group, joined, mapped, prefixed
from entrepot.client import RemoteOptions

PANEL: Final = "Registry options"
"""The heading that these options stand under."""

_MOST_RETRIES: Final = 100
_LONGEST_PASSWORD: Final = 64 * 1024

Given = Mapping[str, Any]
"""The options that were given, by name; what was left out is not in it."""


def _option(*names: str, help: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(
        *names, help=help, metavar=metavar, rich_help_panel=PANEL, show_default=False, **more
    )


def _given(
    *,
    username: Annotated[
        str | None,
        _option("--username", "-u", metavar="NAME", help="Log in with this name, for once."),
    ] = None,
    password_stdin: Annotated[
        bool | None,
        _option("--password-stdin", help="Read the password (one line) from standard input."),
    ] = None,
    authfile: Annotated[
        Path | None,
        _option("--authfile", metavar="FILE", help="Where logins are kept, as podman keeps them."),
    ] = None,
    anonymous: Annotated[bool | None, _option("--anonymous", help="Use no login at all.")] = None,
    tls_verify: Annotated[
        bool | None,
        _option("--tls-verify/--no-tls-verify", help="Check certificates (as by default) or not."),
    ] = None,
    insecure: Annotated[bool | None, _option("--insecure", help="Like --tls-verify=false.")] = None,
    plain_http: Annotated[
        bool | None, _option("--plain-http", help="Use HTTP without TLS; the default on loopback.")
    ] = None,
    ca_file: Annotated[
        Path | None,
        _option("--ca-file", metavar="FILE", help="PEM certificates to trust beside the system's."),
    ] = None,
    cert: Annotated[
        Path | None, _option("--cert", metavar="FILE", help="PEM client certificate to show.")
    ] = None,
    key: Annotated[
        Path | None, _option("--key", metavar="FILE", help="The client certificate's private key.")
    ] = None,
    proxy: Annotated[
        str | None,
        _option(
            "--proxy",
            metavar="URL",
            help="http, https, socks5 or socks5h proxy; without it what the environment says.",
        ),
    ] = None,
    allow_realm: Annotated[
        list[str] | None,
        _option(
            "--allow-realm",
            metavar="HOST",
            help="Log in at this token server too, though it is of another domain. Repeatable.",
        ),
    ] = None,
    retries: Annotated[
        int | None,
        _option(
            "--retries",
            metavar="N",
            min=0,
            max=_MOST_RETRIES,
            help="How often a failed request is repeated; 5 if not told.",
        ),
    ] = None,
) -> Given:
    """Return the options that were given."""
    return {name: value for name, value in locals().items() if value is not None}


def with_password(given: Given, side: str = "") -> Given:
    """Return the options with the password that they ask for, where they name a user.

    `side` says in the prompt which registry is meant. Raise BadParameter where they make no login.
    """
    values = dict(given)
    from_input, username = values.pop("password_stdin", False), values.get("username", "")
    if ":" in username:
        raise typer.BadParameter(
            "--username takes a name only: a password on a command line can be read by everyone "
            "on this machine; use --password-stdin"
        )
    if from_input and not username:
        raise typer.BadParameter("--password-stdin needs --username")
    if username:
        prompt = f"Password for {username}{side}: "
        values["password"] = read_password() if from_input else ask_password(prompt)
    return values


def _remote(given: Given) -> RemoteOptions:
    """Return what the options mean. Raise BadParameter where they contradict each other."""
    values = dict(given)
    if values.pop("insecure", False):
        values["tls_verify"] = False
    for option, name in (("cert", "client_certificate"), ("key", "client_key")):
        if option in values:
            values[name] = values.pop(option)
    values["allowed_realms"] = tuple(values.pop("allow_realm", ()))
    if values.get("username") and values.get("anonymous"):
        raise typer.BadParameter("--username and --anonymous contradict each other")
    if ("client_certificate" in values) != ("client_key" in values):
        raise typer.BadParameter("--cert and --key belong together; give both")
    return RemoteOptions(**values)


def _two_remotes(given: tuple[Given, Given, Given]) -> tuple[RemoteOptions, RemoteOptions]:
    """Return the options of source and target: their own go before those for both."""
    both = with_password(given[0])
    source, target = (
        with_password(own, f" at the {side}")
        for own, side in zip(given[1:], ("source", "destination"), strict=True)
    )
    return _remote(_over(both, source)), _remote(_over(both, target))


def _over(both: Given, own: Given) -> Given:
    login = ("username", "password", "anonymous")
    replaced = login if any(name in own for name in login) else ()
    return {name: value for name, value in both.items() if name not in replaced} | dict(own)


def read_password(option: str = "--password-stdin", what: str = "password") -> str:
    """Return the next line of standard input, without its end. Where there is none, the option
    that asks for it is named, and what it is.

    Nothing behind the line is read, so that another password, or an archive, may follow.
    """
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n") and len(line) < _LONGEST_PASSWORD:
        line += byte
    password = line.decode(errors="surrogateescape").removesuffix("\r")
    if not password:
        raise typer.BadParameter(f"{option} found no {what} on standard input")
    return password


def ask_password(prompt: str) -> str:
    """Ask for a password on the terminal without showing it. Raise BadParameter without one."""
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask for a password; use --password-stdin")
    return getpass.getpass(prompt, sys.stderr)


remote_options: Final[Group] = mapped(_given, lambda given: _remote(with_password(given)))
"""The options for one registry; the value is RemoteOptions."""

two_remotes: Final[Group] = mapped(
    joined(_given, prefixed(_given, "src"), prefixed(_given, "dest")), _two_remotes
)
"""The options for a source and a target; the value is a pair of RemoteOptions."""
