"""What `entrepot upstream add` is told of an upstream: options in, a table of settings out.

Secrets are read from standard input or asked for. On a command line everybody on the machine could
read them.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from entrepot.cli.option_groups import Group, mapped
from entrepot.cli.remote_options import ask_password, read_password, with_password

_FROM_INPUT: Final = "-"
_SECRET_HEADER: Final = re.compile(
    r"auth|api|cookie|credential|key|pass|secret|sign|token", re.IGNORECASE
)

Table = Mapping[str, object]
"""An upstream's settings, as a configuration file would have them."""


def _option(*names: str, help: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, show_default=False)


def _given(
    *,
    url: Annotated[
        list[str] | None,
        _option(
            "--url",
            metavar="URL",
            help="Where it is asked: a URL, and weight=N and cost=N if they matter. Repeatable.",
        ),
    ] = None,
    preset: Annotated[
        str | None, _option("--preset", metavar="NAME", help="Whose habits it has.")
    ] = None,
    layout: Annotated[
        str | None,
        _option(
            "--layout",
            metavar="LAYOUT",
            help="With --preset artifactory: cloud, cloud-sub-domain, path, repository-path, "
            "sub-domain or port. Each --url is then a host only; NAME is one if there is none.",
        ),
    ] = None,
    repository: Annotated[
        str | None,
        _option("--repository", metavar="KEY", help="With --layout: the repository's key there."),
    ] = None,
    username: Annotated[
        str | None,
        _option("--username", "-u", metavar="NAME", help="Log in there with this name."),
    ] = None,
    password_stdin: Annotated[
        bool,
        _option("--password-stdin", help="Read the password (one line) from standard input."),
    ] = False,
    header: Annotated[
        list[str] | None,
        _option(
            "--header",
            metavar="FIELD",
            help="Header field for every request: `Name: value`, or `Name: -` to read the value "
            "(one line) from standard input. Repeatable.",
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        _option("--ca-file", metavar="FILE", help="PEM certificates to trust beside the system's."),
    ] = None,
    proxy: Annotated[
        str | None,
        _option(
            "--proxy",
            metavar="URL",
            help="http, https, socks5 or socks5h proxy, or none; - reads it from standard input.",
        ),
    ] = None,
    insecure: Annotated[
        bool, _option("--insecure", help="Allow plain HTTP, and any certificate.")
    ] = False,
    alias: Annotated[
        list[str] | None,
        _option("--alias", metavar="NAME", help="Another name that means it. Repeatable."),
    ] = None,
    mode: Annotated[
        str | None,
        _option("--mode", metavar="mirror|redirect", help="Cache it, or send clients there."),
    ] = None,
    max_size: Annotated[
        str | None, _option("--max-size", metavar="SIZE", help="Most bytes of it in the cache.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        _option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other setting of an upstream, e.g. selection=latency. Repeatable.",
        ),
    ] = None,
) -> Mapping[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in locals().items() if value}


def _table(given: Mapping[str, Any]) -> Table:
    """Return the settings that the options mean, with the secrets they ask for."""
    values = dict(given)
    table: dict[str, object] = {}
    for line in values.pop("set_", ()):
        key, value = _set(line)
        table[key] = value
    lists = {"url": "endpoints", "alias": "aliases"}
    table |= {key: list(values.pop(name)) for name, key in lists.items() if name in values}
    if "ca_file" in values:
        # The server may be started elsewhere.
        values["ca_file"] = str(values["ca_file"].absolute())
    values = dict(with_password(values))
    if "proxy" in values:
        table["proxy"] = _proxy(values.pop("proxy"))
    if "header" in values:
        table["headers"] = [_header(line) for line in values.pop("header")]
    return {**table, **values}


def _proxy(text: str) -> str:
    if text == _FROM_INPUT:
        return _secret("--proxy", "URL", "Proxy: ")
    if "@" in text:
        raise typer.BadParameter(
            "--proxy with a password in it could be read by everyone on this machine; write "
            "--proxy - and give the URL on standard input"
        )
    return text


def _header(line: str) -> str:
    name, colon, value = (part.strip() for part in line.partition(":"))
    if not (name and colon and value):
        raise typer.BadParameter("--header takes a field as `Name: value`, or `Name: -`")
    if value == _FROM_INPUT:
        return f"{name}: {_secret('--header', 'value', f'{name}: ')}"
    if _SECRET_HEADER.search(name):
        raise typer.BadParameter(
            f"the value of {name} may be a secret, and a command line can be read by everyone on "
            f"this machine; write --header '{name}: -' and give it on standard input"
        )
    return f"{name}: {value}"


def _secret(option: str, what: str, prompt: str) -> str:
    return ask_password(prompt) if sys.stdin.isatty() else read_password(option, what)


def _set(line: str) -> tuple[str, object]:
    """Read `KEY=VALUE` as an environment variable would be."""
    from entrepot.config.model import TABLE_SETTINGS

    known = TABLE_SETTINGS["upstreams"]
    key, equals, text = line.partition("=")
    key = key.strip().replace("-", "_")
    if not equals or key not in known:
        raise typer.BadParameter(f"--set takes KEY=VALUE, with a key of {', '.join(known)}")
    kind = known[key].kind
    if kind.secret:
        option = {"password": "--password-stdin", "headers": "--header"}.get(key, f"--{key}")
        raise typer.BadParameter(f"--set does not take {key}, which may be secret; use {option}")
    try:
        return key, kind.written(known[key].check(kind.parse(text)))
    except ValueError:
        allowed = known[key].allowed()
        raise typer.BadParameter(f"--set {key}: it must be {allowed}") from None


upstream_options: Final[Group] = mapped(_given, _table)
"""The options that say what an upstream is; the value is its table."""
