"""Origins: raw values from a TOML file, the environment and flags, each with its place.

Nothing is interpreted here but names: an unknown section, key or variable is a problem, with
the nearest right name as its hint.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from entrepot.config.errors import Problem
from entrepot.config.model import SECTIONS, SETTINGS, Name

PREFIX: Final = "ENTREPOT_"
FILE_VARIABLE: Final = "ENTREPOT_CONFIG"

_HEADING: Final = re.compile(r"\s*\[+\s*[\"']?([^\]\"'.\s]+)")


@dataclass(frozen=True, slots=True)
class Given:
    """A value somebody gave, and where. `text` if it is to be parsed rather than read."""

    value: object
    origin: str
    text: bool


Layer = dict[Name, Given]


def variable(name: Name) -> str:
    """Return the environment variable of a setting, e.g. `ENTREPOT_SERVER_LISTEN`."""
    section, key = name
    return f"{PREFIX}{section}_{key}".upper()


_VARIABLES: Final = {variable(name): name for name in SETTINGS}


def from_file(file: Path) -> tuple[Layer, list[Problem]]:
    """Read a TOML file: sections as tables, settings as their keys."""
    try:
        text = file.read_bytes().decode()
        content = tomllib.loads(text)
    except OSError as error:
        return {}, [Problem(str(file), f"cannot be read: {error.strerror or error}")]
    except UnicodeDecodeError as error:
        return {}, [Problem(str(file), f"is not UTF-8 text: byte {error.start} is wrong")]
    except tomllib.TOMLDecodeError as error:
        return {}, [Problem(str(file), f"is not valid TOML: {error}")]
    layer: Layer = {}
    problems = []
    for section, table in content.items():
        place = _place(file, text, section)
        if section not in SECTIONS:
            problems.append(Problem(place, f"unknown section [{section}]", _section_hint(section)))
        elif not isinstance(table, dict):
            problems.append(Problem(place, f"{section} must be a section", f"write [{section}]"))
        else:
            for key, value in table.items():
                place = _place(file, text, section, key)
                if (section, key) in SETTINGS:
                    layer[section, key] = Given(value, place, text=False)
                else:
                    unknown = f"unknown key {section}.{key}"
                    problems.append(Problem(place, unknown, _key_hint(section, key)))
    return layer, problems


# Kubernetes sets these in every container beside a service called `entrepot`.
_OF_KUBERNETES: Final = re.compile(r"ENTREPOT_(?:SERVICE_(?:HOST|PORT\w*)|PORT(?:_\w+)?)", re.ASCII)


def from_environment(environ: Mapping[str, str]) -> tuple[Layer, list[Problem]]:
    """Read every `ENTREPOT_<SECTION>_<KEY>`; other variables are not ours."""
    layer: Layer = {}
    problems = []
    for one, value in environ.items():
        if not one.startswith(PREFIX) or one == FILE_VARIABLE or _OF_KUBERNETES.fullmatch(one):
            continue
        if one in _VARIABLES:
            layer[_VARIABLES[one]] = Given(value, one, text=True)
        else:
            hint = _did_you_mean(_nearest(one.upper(), [*_VARIABLES, FILE_VARIABLE]))
            problems.append(Problem(one, "unknown variable", hint))
    return layer, problems


def from_flags(flags: Mapping[str, object]) -> Layer:
    """Take `{"section.key": value}`, where None means that the flag was not given."""
    layer: Layer = {}
    for dotted, value in flags.items():
        section, _, key = dotted.partition(".")
        if value is not None:
            origin = SETTINGS[section, key].flag or dotted
            layer[section, key] = Given(value, origin, text=isinstance(value, str))
    return layer


def _place(file: Path, text: str, section: str, key: str | None = None) -> str:
    """Name the file and the line where a section or key stands, as tomllib does not tell it.

    Where the line is not found (an inline table), name the section's, or else the file.
    """
    names = [section] if key is None else [section, key]
    at_root, inside = True, False
    for number, line in enumerate(text.splitlines(), start=1):
        if heading := _HEADING.match(line):
            at_root, inside = False, heading[1] == section
            if inside and key is None:
                return f"{file}:{number}"
        elif (at_root and _assigns(line, names)) or (inside and _assigns(line, names[1:])):
            return f"{file}:{number}"
    return str(file) if key is None else _place(file, text, section)


def _assigns(line: str, names: Iterable[str]) -> bool:
    """Whether a line of TOML begins with this dotted key."""
    dotted = r"\s*\.\s*".join(rf"[\"']?{re.escape(name)}[\"']?" for name in names)
    return re.match(rf"\s*{dotted}\s*[=.]", line) is not None


def _nearest(name: str, names: Iterable[str]) -> str | None:
    found = get_close_matches(name, names, n=1, cutoff=0.6)
    return found[0] if found else None


def _section_hint(section: str) -> str:
    near = _nearest(section.lower(), SECTIONS)
    if near is None:
        owner = _owner(section)
        return _did_you_mean(owner) or "sections are " + ", ".join(f"[{one}]" for one in SECTIONS)
    return _did_you_mean(f"[{near}]")


def _key_hint(section: str, key: str) -> str:
    siblings = [one for where, one in SETTINGS if where == section]
    near = _nearest(key.lower().replace("-", "_"), siblings)
    return _did_you_mean(f"{section}.{near}" if near else _owner(key)) or (
        f"[{section}] has {', '.join(siblings)}"
    )


def _owner(key: str) -> str | None:
    """Find a key that stands in another section than people think."""
    keys = {one: section for section, one in SETTINGS}
    near = _nearest(key.lower().replace("-", "_"), keys)
    return f"{keys[near]}.{near}" if near else None


def _did_you_mean(name: str | None) -> str:
    return f"did you mean {name}?" if name else ""
