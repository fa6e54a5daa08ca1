"""The pure rooms import nothing that reads a file, a socket, a clock or a dice.

Their imports are listed, so a new one needs a decision here.
"""

import ast

import pytest

from tools.environment import ROOT

PURE_ROOMS = ("oci", "protocol", "rules")

PURE_MODULES = frozenset(
    {
        "__future__",
        "abc",
        "base64",
        "binascii",
        "bisect",
        "collections",
        "collections.abc",
        "dataclasses",
        "datetime",
        "difflib",
        "email.utils",
        "enum",
        "fnmatch",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "string",
        "struct",
        "types",
        "typing",
        "unicodedata",
        "urllib.parse",
        "zlib",
        "compression",
        "backports",
    }
)
"""Parts of the standard library that only compute."""

IMPURE_BUILTINS = frozenset({"open", "print", "input"})
CLOCK_METHODS = frozenset({"now", "utcnow", "today"})
"""The clock that hides behind `datetime`."""


def impurities(source: str) -> list[str]:
    """Return what `source` imports or calls beyond computing, with line numbers."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                imported = [alias.name for alias in names]
                found += [f"{node.lineno}: {name}" for name in imported if not is_pure(name)]
            case ast.ImportFrom(module=module, level=level):
                name = "." * level + (module or "")
                found += [] if is_pure(name) else [f"{node.lineno}: {name}"]
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_BUILTINS:
                found.append(f"{node.lineno}: {name}()")
            case ast.Call(func=ast.Attribute(attr=name)) if name in CLOCK_METHODS:
                found.append(f"{node.lineno}: .{name}()")
    return found


def is_pure(module: str) -> bool:
    """Tell whether a pure room may import `module`; relative imports are spelt out instead."""
    rooms = tuple(f"entrepot.{room}." for room in PURE_ROOMS)
    return module in PURE_MODULES or f"{module}.".startswith(rooms)


def test_a_pure_room_only_computes() -> None:
    package = ROOT / "src" / "entrepot"
    sources = [file for room in PURE_ROOMS for file in sorted((package / room).rglob("*.py"))]
    found = {str(file.relative_to(package)): impurities(file.read_text()) for file in sources}
    assert sources
    assert {file: seen for file, seen in found.items() if seen} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import asyncio.events",
        "from time import monotonic",
        "from entrepot.ports.clock import Clock",
        "from . import digest",
        "import sqlalchemy",
        "from datetime import datetime\nwhen = datetime.now()",
        "text = open('file').read()",
    ],
)
def test_what_is_not_computing_is_seen(source: str) -> None:
    assert len(impurities(source)) == 1
