"""Resolution: flags over environment over file over defaults, and all mistakes at once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from entrepot.config.errors import ConfigError, Problem
from entrepot.config.model import SECTIONS, SETTINGS, Name, Settings
from entrepot.config.origins import (
    FILE_VARIABLE,
    Given,
    from_environment,
    from_file,
    from_flags,
)
from entrepot.config.setting import Setting

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings, and where each came from: `default`, `FILE:LINE`, a variable or a flag."""

    settings: Settings
    origins: Mapping[Name, str]


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """Return the settings in force. Raise ConfigError with everything that is wrong.

    `file` is a TOML file, by default the one `ENTREPOT_CONFIG` names in `environ`; `flags` maps
    `section.key` to a value, None where the flag was not given.
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
    origins = dict.fromkeys(SETTINGS, DEFAULT)
    # Also what is overridden must be right: a mistake that hides comes out at the worst time.
    for layer in (in_file, in_environment, from_flags(flags)):
        for name, given in layer.items():
            try:
                values[name] = _read(SETTINGS[name], given)
                origins[name] = given.origin
            except ValueError:
                problems.append(_refusal(name, given))
    settings = Settings(
        **{
            section: model(**{key: value for (of, key), value in values.items() if of == section})
            for section, model in SECTIONS.items()
        }
    )
    problems += _contradictions(settings, origins)
    if problems:
        raise ConfigError(problems)
    return Resolved(settings, origins)


def _read(setting: Setting, given: Given) -> Any:
    kind = setting.kind
    if given.text:
        return setting.check(kind.parse(str(given.value)))
    return setting.check(kind.read(given.value))


def _refusal(name: Name, given: Given) -> Problem:
    setting = SETTINGS[name]
    shown = "this value" if setting.kind.secret else _quoted(given.value)
    return Problem(
        given.origin,
        f"{'.'.join(name)} cannot be {shown}",
        f"it must be {setting.allowed()}",
    )


def _quoted(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"


def _contradictions(settings: Settings, origins: Mapping[Name, str]) -> list[Problem]:
    """Find settings that are right one by one but not together."""
    server = settings.server
    if (server.tls_certificate is None) == (server.tls_key is None):
        return []
    given, missing = "tls_key", "tls_certificate"
    if server.tls_key is None:
        given, missing = missing, given
    return [
        Problem(
            origins["server", given],
            f"server.{given} is set without server.{missing}",
            "HTTPS needs both",
        )
    ]
