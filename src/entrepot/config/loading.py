"""Resolution: flags over environment over file over defaults, and all mistakes at once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from entrepot.config.contradictions import contradictions
from entrepot.config.documents import Given, Layer
from entrepot.config.errors import ConfigError, Problem, Refusal
from entrepot.config.model import SECTIONS, SETTINGS, TABLES, Name, Settings, setting_of
from entrepot.config.origins import FILE_VARIABLE, from_environment, from_file, from_flags
from entrepot.config.setting import Setting
from entrepot.config.table_contradictions import nowhere_problems
from entrepot.config.urls import redacted

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings, and where each came from: `default`, `FILE:LINE`, a variable or a flag. Of a table
    only what was given has an origin."""

    settings: Settings
    origins: Mapping[Name, str]


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """Return the settings in force. Raise ConfigError with everything that is wrong.

    `file` is in TOML, or in YAML if its name says so, by default the one `ENTREPOT_CONFIG` names
    in `environ`; `flags` maps `section.key` to a value, None where the flag was not given.
    """
    return resolve(file, environ, flags).settings


def resolve(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Resolved:
    """Do what `load` does, and tell where each value came from."""
    if file is None and environ.get(FILE_VARIABLE):
        file = Path(environ[FILE_VARIABLE])
    in_file, problems = from_file(file) if file is not None else ({}, [])
    in_environment, more = from_environment(environ)
    problems += more
    values: dict[Name, Any] = {}
    origins: dict[Name, str] = dict.fromkeys(SETTINGS, DEFAULT)
    # Also what is overridden must be right: a mistake that hides comes out at the worst time.
    for layer in (in_file, in_environment, from_flags(flags)):
        problems += overlay(values, origins, layer)
    settings = Settings(
        **{
            section: model(**{name[1]: values[name] for name in values if name[0] == section})
            for section, model in SECTIONS.items()
        },
        upstreams=tables(values, origins, "upstreams"),
        sites=tables(values, origins, "sites"),
    )
    problems += contradictions(settings, origins)
    problems = problems or nowhere_problems(settings.upstreams, origins)
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return Resolved(settings, origins)


def overlay(values: dict[Name, Any], origins: dict[Name, str], layer: Layer) -> list[Problem]:
    """Lay a layer over the values that there are already; return what is wrong with it."""
    problems = []
    for name, given in layer.items():
        if name[0] in TABLES and len(name) == 2:
            origins.setdefault(name, given.origin)
            continue
        try:
            values[name] = _read(setting_of(name), given)
            origins[name] = given.origin
        except ValueError as error:
            problems.append(_refusal(name, given, error))
    return problems


def tables(values: Mapping[Name, Any], origins: Mapping[Name, str], table: str) -> dict[str, Any]:
    """Return the tables of a kind by name, in the order in which they were written."""
    keys: dict[str, dict[str, Any]] = {name[1]: {} for name in origins if name[0] == table}
    for name, value in values.items():
        if name[0] == table:
            keys[name[1]][name[2]] = value
    return {name: TABLES[table](**given) for name, given in keys.items()}


def _read(setting: Setting, given: Given) -> Any:
    kind = setting.kind
    if given.text:
        return setting.check(kind.parse(str(given.value)))
    return setting.check(kind.read(given.value))


def _refusal(name: Name, given: Given, error: ValueError) -> Problem:
    setting = setting_of(name)
    shown = "this value" if setting.kind.secret else _quoted(given.value)
    return Problem(
        given.origin,
        f"{given.called or '.'.join(name)} cannot be {shown}",
        str(error) if isinstance(error, Refusal) else f"it must be {setting.allowed()}",
    )


def _quoted(value: object) -> str:
    if isinstance(value, str) and "://" in value:
        value = redacted(value)
    elif isinstance(value, list) and any("://" in str(one) for one in value):
        value = [redacted(str(one)) for one in value]
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"
