"""TOML: a file's text as a document, with the lines that tomllib does not tell."""

import json
import re
import tomllib
from collections.abc import Iterator
from functools import partial
from typing import Final

from entrepot.config.documents import Document, line_place
from entrepot.config.errors import ConfigError, Problem

_KEY: Final = re.compile(r"""\s*(?:([A-Za-z0-9_-]+)|("(?:[^"\\]|\\.)*")|'([^']*)')\s*(\.)?""")


def toml_document(text: str, origin: str) -> Document:
    """Parse TOML whose places are `origin:LINE`. Raise ConfigError if it is none."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem(origin, f"is not valid TOML: {error}")]) from None
    return Document(content, partial(line_place, origin, _lines(text)))


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of each path: where it is assigned or headed, or else the first one below
    it: `[server.tls]` alone is a place for `server`, too."""
    named: dict[tuple[str, ...], int] = {}
    below: dict[tuple[str, ...], int] = {}
    for number, path in _named_lines(text):
        named.setdefault(path, number)
        for known in range(1, len(path)):
            below.setdefault(path[:known], number)
    return {**below, **named}


def _named_lines(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line, path) of every heading and every assignment."""
    heading: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.lstrip()
        if bare.startswith("["):
            if (path := _dotted(bare.lstrip("["), "]")) is not None:
                heading = path
                yield number, heading
        elif (path := _dotted(bare, "=")) is not None:
            yield number, heading + path


def _dotted(text: str, end: str) -> tuple[str, ...] | None:
    """Read a dotted key that `end` follows; None where there is none."""
    path: list[str] = []
    at = 0
    while match := _KEY.match(text, at):
        bare, quoted, literal, dot = match.groups()
        path.append(_unquoted(quoted) if quoted else bare or literal or "")
        at = match.end()
        if not dot:
            return tuple(path) if text[at : at + 1] == end else None
    return None


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]
