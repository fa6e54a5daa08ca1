"""What commands print: JSON for programs, aligned text for people, and the digest for both."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import typer

Form = Literal["text", "json"]

OutputOption = Annotated[
    Form, typer.Option("--output", "-o", help="Form of what is printed.", metavar="text|json")
]
"""`-o text|json`, of every command that prints data."""

QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the digest only, and no progress.")
]
"""`-q`, of every command that moves content."""

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP: Final = 1024


def print_json(value: object) -> None:
    """Print a value as JSON, indented, with keys in their own order."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_lines(lines: Iterable[object]) -> None:
    """Print one line for each."""
    for line in lines:
        print(line)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print `name:  value` lines with the values below each other; empty ones are left out."""
    shown = {name: value for name, value in fields.items() if value not in (None, "")}
    width = max((len(name) for name in shown), default=0) + 1
    for name, value in shown.items():
        print(f"{name + ':':<{width}}  {value}")


def table(rows: Sequence[Sequence[Any]], indent: str = "") -> Iterable[str]:
    """Yield rows as lines with aligned columns; the last column is not padded."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)] if texts else []
    for row in texts:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield f"{indent}{'  '.join(cells).rstrip()}"


def human_size(size: float) -> str:
    """Return a number of bytes in the largest unit that keeps it above one: `3.4 MiB`."""
    unit = 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.0f} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def write_bytes(content: bytes) -> None:
    """Write bytes to standard output as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def refuse_terminal() -> None:
    """Raise BadParameter if an archive would be written onto a terminal."""
    if sys.stdout.isatty():
        raise typer.BadParameter("an archive is not written onto a terminal; redirect the output")
