"""Kinds of values: how a setting is written, checked and shown.

A kind reads a value as TOML gives it (`read`) or as an environment variable or a flag gives it
(`parse`). Both raise ValueError for anything else; `allowed` says what would have been right.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from entrepot.config.errors import Refusal
from entrepot.config.registry_names import upstream_name
from entrepot.config.urls import http_url, proxy_url, redacted, registry_url
from entrepot.oci.errors import Unsupported
from entrepot.oci.platform import Platform

_QUANTITY: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([a-z]*)", re.ASCII)
_SIZE_UNITS: Final[Mapping[str, int]] = {
    "": 1, "b": 1,
    "k": 1024, "kb": 1024, "kib": 1024,
    "m": 1024**2, "mb": 1024**2, "mib": 1024**2,
    "g": 1024**3, "gb": 1024**3, "gib": 1024**3,
    "t": 1024**4, "tb": 1024**4, "tib": 1024**4,
}  # fmt: skip
_TIME_UNITS: Final[Mapping[str, float]] = {
    "": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0,
}  # fmt: skip
_TRUTH: Final[Mapping[str, bool]] = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.%a-z]+\]|[^\s:\[\]/]*", re.ASCII)
_DATABASE: Final = re.compile(r"(postgres(ql)?://|sqlite:///).")
_HEADER: Final = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\x20-\x7e]+)", re.ASCII)
_NO_HEADERS: Final = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "upgrade", "range"}
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    `name` is a word for tables, `allowed` completes "it must be …". `show` gives a value back
    in a form that TOML and JSON know and that `read` accepts, without secrets; `write` does so
    with them where that makes a difference. What was given for a `secret` kind is never repeated
    in an error.
    """

    name: str
    allowed: str
    read: Callable[[object], Any]
    parse: Callable[[str], Any]
    show: Callable[[Any], object] = lambda value: value
    secret: bool = False
    write: Callable[[Any], object] | None = None

    def written(self, value: Any) -> object:
        """Give a value back with its secrets, for a file that is ours alone."""
        return (self.write or self.show)(value)


class DatabaseURL(str):
    """A database's URL; `repr` hides the password, so that no log or traceback shows it."""

    __slots__ = ()

    def redacted(self) -> str:
        """Return the URL with `***` for every password in it."""
        return redacted(self)

    def __repr__(self) -> str:
        return repr(self.redacted())


def _quantity(text: str, units: Mapping[str, float]) -> float:
    match = _QUANTITY.fullmatch(text.strip().lower())
    if match is None or match[2] not in units:
        raise ValueError(text)
    # Whole numbers stay exact: a size may be above what a float can count.
    number = float(match[1]) if "." in match[1] else int(match[1])
    return number * units[match[2]]


def _parse_size(text: str) -> int:
    size = _quantity(text, _SIZE_UNITS)
    if size != int(size):
        raise ValueError(text)
    return int(size)


def _parse_duration(text: str) -> float:
    return _quantity(text, _TIME_UNITS)


def _read_size(value: object) -> int:
    return value if type(value) is int else _parse_size(_text(value))


def _read_duration(value: object) -> float:
    if type(value) in (int, float):
        value = repr(value)
    return _parse_duration(_text(value))


def _show_size(size: int) -> str:
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = _SIZE_UNITS[unit.lower()]
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def _show_duration(seconds: float) -> str:
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _TIME_UNITS[unit] == 0:
            return f"{seconds / _TIME_UNITS[unit]:.0f}{unit}"
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + "ms" if seconds else "0s"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _read_bool(value: object) -> bool:
    if type(value) is not bool:
        raise ValueError(value)
    return value


def _parse_bool(text: str) -> bool:
    try:
        return _TRUTH[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


def _read_int(value: object) -> int:
    if type(value) is not int:
        raise ValueError(value)
    return value


def _path(value: object) -> Path:
    text = _text(value) if not isinstance(value, Path) else str(value)
    if not text or "\0" in text:
        raise ValueError(value)
    return Path(text)


def _optional_path(value: object) -> Path | None:
    return None if value == "" else _path(value)


def _database_url(value: object) -> DatabaseURL:
    url = DatabaseURL(_text(value))
    if url and not _DATABASE.match(url):
        raise ValueError(url)
    return url


def _address(text: str) -> str:
    if text.startswith("unix:"):
        if text == "unix:" or "\0" in text:
            raise ValueError(text)
        return text
    host, colon, port = text.rpartition(":")
    if not (colon and _HOST.fullmatch(host) and port.isascii() and port.isdigit()):
        raise ValueError(text)
    if int(port) > 65535:
        raise ValueError(text)
    return text


MAX_HEADER_TEXT: Final = 256
"""Longest text of one warning, as `protocol.warnings` has it."""


def _header_text(text: str) -> str:
    if not (text.isascii() and text.isprintable() and 0 < len(text) <= MAX_HEADER_TEXT):
        raise ValueError(text)
    return text


def list_of(item: Callable[[str], str], name: str, allowed: str, *, least: int = 0) -> Kind:
    """A list, each item read by `item`. As text it is separated by commas, or written like a TOML
    array."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise ValueError(value)
        return tuple(item(_text(one)) for one in value)

    def parse(text: str) -> tuple[str, ...]:
        if text.lstrip().startswith("["):
            return read(tomllib.loads(f"list = {text}")["list"])
        return read([part.strip() for part in text.split(",") if part.strip()])

    return Kind(name, allowed, read, parse, list)


def choice(*options: str) -> Kind:
    """One of a few words."""

    def read(value: object) -> str:
        if value not in options:
            raise ValueError(value)
        return str(value)

    allowed = "one of " + ", ".join(f'"{option}"' for option in options)
    return Kind("choice", allowed, read, lambda text: read(text.strip().lower()))


BOOLEAN: Final = Kind("boolean", "true or false", _read_bool, _parse_bool)
INTEGER: Final = Kind("integer", "a whole number", _read_int, int)
SIZE: Final = Kind(
    "size",
    'a size such as "64KiB", "4MiB" or "1g" (units of 1024), or a number of bytes',
    _read_size,
    _parse_size,
    _show_size,
)
DURATION: Final = Kind(
    "duration",
    'a duration such as "500ms", "30s", "5m", "24h" or "7d", or a number of seconds',
    _read_duration,
    _parse_duration,
    _show_duration,
)
PATH: Final = Kind("path", "the path of a file or directory", _path, _path, str)
OPTIONAL_PATH: Final = Kind(
    "path",
    "the path of a file, or empty",
    _optional_path,
    _optional_path,
    lambda path: "" if path is None else str(path),
)
DATABASE_URL: Final = Kind(
    "URL",
    'empty, "postgresql://USER:PASSWORD@HOST:PORT/DATABASE" or "sqlite:////PATH/OF/FILE"',
    _database_url,
    _database_url,
    DatabaseURL.redacted,
    secret=True,
    write=str,
)
ADDRESSES: Final = list_of(
    _address,
    "list of addresses",
    'a list of "HOST:PORT", "[IPV6]:PORT" or "unix:/path"',
    least=1,
)
HEADER_TEXTS: Final = list_of(
    _header_text,
    "list of strings",
    f"a list of strings of 1 to {MAX_HEADER_TEXT} printable ASCII characters",
)
TEXT: Final = Kind("string", "a string", _text, str)
SECRET: Final = Kind(
    "secret", "a string", _text, str, lambda text: "***" if text else "", secret=True, write=str
)


def _optional_size(value: object) -> int | None:
    return None if value == "" else _read_size(value)


OPTIONAL_SIZE: Final = Kind(
    "size",
    'empty, or a size such as "500m", "10GiB" or a number of bytes',
    _optional_size,
    lambda text: _parse_size(text) if text else None,
    lambda size: "" if size is None else _show_size(size),
)


def _or_empty(check: Callable[[str], str]) -> Callable[[object], str]:
    """Let a check take the empty string, too."""

    def read(value: object) -> str:
        text = _text(value)
        return check(text) if text else text

    return read


OPTIONAL_URL: Final = Kind(
    "URL",
    "empty, or a URL of http or https without credentials",
    _or_empty(http_url),
    _or_empty(http_url),
)
REGISTRY_URL: Final = Kind(
    "URL",
    "empty, or an https URL whose path begins with /v2/",
    _or_empty(registry_url),
    _or_empty(registry_url),
)
UPSTREAM_NAME: Final = Kind(
    "upstream", "empty, or an upstream's name", _or_empty(upstream_name), _or_empty(upstream_name)
)


def _network(text: str) -> str:
    return str(ip_network(text, strict=False))


NETWORKS: Final = list_of(
    _network, "list of networks", 'a list of addresses or networks such as "10.0.0.0/8"'
)
TEXTS: Final = list_of(lambda text: text, "list of strings", "a list of strings")
PATTERNS: Final = list_of(lambda text: text, "list of patterns", 'a list of names such as "apps/*"')


def _platform(text: str) -> str:
    try:
        return str(Platform.parse(text))
    except Unsupported as error:
        raise Refusal(error.message) from None


PLATFORMS: Final = list_of(
    _platform, "list of platforms", 'a list of platforms such as "linux/amd64"'
)
UPSTREAM_NAMES: Final = list_of(
    upstream_name, "list of names", 'a list of names such as "hub" or "mirror.example.com"'
)


def _header(text: str) -> str:
    match = _HEADER.fullmatch(text.strip())
    if match is None:
        raise Refusal('each is written "Name: value", in printable ASCII')
    if match[1].lower() in _NO_HEADERS:
        raise Refusal(f"{match[1]} is not a header field that can be set")
    return f"{match[1]}: {match[2]}"


_HEADERS: Final = list_of(_header, "list of secrets", 'a list of header fields "Name: value"')
HEADERS: Final = replace(
    _HEADERS,
    show=lambda headers: [f"{header.partition(':')[0]}: ***" for header in headers],
    secret=True,
    write=list,
)


def _rewrite(text: str) -> str:
    name, equals, other = (part.strip() for part in text.partition("="))
    if not (name and equals and other) or "=" in other:
        raise Refusal('each is written "NAME=OTHER", as in "rancher/*=stable/rancher/*"')
    if other.count("*") > name.count("*"):
        raise Refusal("the right side has no more * than the left one")
    return f"{name}={other}"


REWRITES: Final = list_of(
    _rewrite, "list of rewrites", 'a list such as "rancher/*=stable/rancher/*"'
)
OPTIONAL_DURATION: Final = Kind(
    "duration",
    f"empty, or {DURATION.allowed}",
    lambda value: None if value == "" else _read_duration(value),
    lambda text: _parse_duration(text) if text else None,
    lambda seconds: "" if seconds is None else _show_duration(seconds),
)


_PROXY_WORDS: Final[Mapping[str, str | None]] = {"environment": None, "none": ""}


def _proxy(value: object) -> str | None:
    text = _text(value)
    return _PROXY_WORDS[text] if text in _PROXY_WORDS else proxy_url(text)


def _show_proxy(proxy: str | None) -> str:
    return redacted(_write_proxy(proxy))


def _write_proxy(proxy: str | None) -> str:
    return proxy or ("environment" if proxy is None else "none")


OPTIONAL_PROXY: Final = Kind(
    "URL",
    '"environment", "none", or a URL of http, https, socks5 or socks5h',
    _proxy,
    _proxy,
    _show_proxy,
    secret=True,
    write=_write_proxy,
)
