"""Documents: sections and tables of settings as they were written, each value with its place.

A document is what TOML, YAML or JSON gives. Nothing is interpreted here but names: an unknown
section, table or key is a problem, with the nearest right name as its hint.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from entrepot.config.errors import Problem, Refusal
from entrepot.config.model import SECTIONS, SETTINGS, TABLE_SETTINGS, TABLES, Name
from entrepot.config.registry_names import TEMPLATE, upstream_name
from entrepot.config.suggestions import section_hint, setting_hint, table_hint

_SITE_NAME_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Given:
    """A value somebody gave, and where. `text` if it is to be parsed rather than read; `called`
    is the setting's name where it was given, if it has another one there."""

    value: object = field(repr=False)
    origin: str
    text: bool
    called: str = ""


Layer = dict[Name, Given]
"""What one place gives. A table that is there, with keys or without, has an entry of two words
such as `("upstreams", "quay.io")`, whose value is None."""


@dataclass(frozen=True, slots=True)
class Document:
    """Nested mappings, and `place`, which names the origin of what stands at a path of keys."""

    content: Mapping[str, Any] = field(repr=False)
    place: Callable[[tuple[str, ...]], str]


def line_place(origin: str, lines: Mapping[tuple[str, ...], int], path: tuple[str, ...]) -> str:
    """Name the line of a path as `origin:LINE`, or of what is around it, or else the origin."""
    for known in range(len(path), 0, -1):
        if path[:known] in lines:
            return f"{origin}:{lines[path[:known]]}"
    return origin


def read_document(document: Document) -> tuple[Layer, list[Problem]]:
    """Return the settings of a document, and what is wrong with its names."""
    layer: Layer = {}
    problems: list[Problem] = []
    for section, content in document.content.items():
        section = str(section)
        place = document.place((section,))
        if section in TABLES:
            problems += read_tables(document, (section,), section, layer)
        elif section not in SECTIONS:
            problems.append(Problem(place, f"unknown section [{section}]", section_hint(section)))
        elif not isinstance(content, Mapping):
            problems.append(Problem(place, f"{section} must be a section", f"write [{section}]"))
        else:
            for key, value in content.items():
                place = document.place((section, str(key)))
                if (section, key) in SETTINGS:
                    layer[section, key] = Given(value, place, text=False)
                else:
                    unknown = f"unknown key {section}.{key}"
                    problems.append(Problem(place, unknown, setting_hint(section, str(key))))
    return layer, problems


def read_tables(
    document: Document, path: tuple[str, ...], table: str, layer: Layer
) -> list[Problem]:
    """Add the tables that stand at `path` of a document to a layer; return what is wrong."""
    problems: list[Problem] = []
    written: dict[str, str] = {}
    for called, content, place in _named(document, path, table, problems):
        try:
            name = table_name(table, called)
        except Refusal as refusal:
            problems.append(Problem(place, f"{table} cannot have the name {called}", str(refusal)))
            continue
        if name in written:
            same = f"{called} and {written[name]} are the same upstream"
            problems.append(Problem(place, same, "write one table with the keys of both"))
            continue
        written[name] = called
        layer[table, name] = Given(None, place, text=False)
        for key, value in content.items():
            place = document.place((*path, called, str(key)))
            if key in TABLE_SETTINGS[table]:
                layer[table, name, key] = Given(value, place, text=False)
            else:
                unknown = f"unknown key {table}.{called}.{key}"
                problems.append(Problem(place, unknown, table_hint(table, called, str(key))))
    return problems


def _named(
    document: Document, path: tuple[str, ...], table: str, problems: list[Problem]
) -> Iterator[tuple[str, Mapping[str, object], str]]:
    """Yield (name, keys, place) of every table at a path; what is none becomes a problem."""
    found: Any = document.content
    for step in path:
        found = found[step]
    if not isinstance(found, Mapping):
        example = "docker.io" if table == "upstreams" else "eu"
        hint = f'write [{table}."{example}"]'
        problems.append(Problem(document.place(path), f"{table} must be tables with names", hint))
        return
    for called, content in found.items():
        place = document.place((*path, str(called)))
        if isinstance(content, Mapping):
            yield str(called), content, place
        elif called in TABLE_SETTINGS[table]:
            hint = f"write [{table}.NAME] above it, with the name that is meant"
            problems.append(Problem(place, f"{table}.{called} belongs to no name", hint))
        else:
            hint = f'write [{table}."{called}"]'
            problems.append(Problem(place, f"{table}.{called} must be a table", hint))


def table_name(table: str, text: str) -> str:
    """Return the one name of a table. Raise Refusal if it cannot have this one."""
    if table == "upstreams":
        return text if text == TEMPLATE else upstream_name(text)
    if not (text.isprintable() and 0 < len(text) <= _SITE_NAME_MAX and text == text.strip()):
        raise Refusal(f"it is a word of at most {_SITE_NAME_MAX} characters")
    return text
