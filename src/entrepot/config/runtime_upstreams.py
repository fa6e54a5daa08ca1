"""Upstreams that were added while the server ran: a file of the server's own.

It holds the same tables as a configuration file, their secrets included, and is therefore readable
for its owner alone. What it has wins over a table of the same name in the settings.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from entrepot.config.documents import Document, Layer, read_document, read_tables
from entrepot.config.errors import ConfigError, Problem
from entrepot.config.loading import overlay, tables
from entrepot.config.model import TABLE_SETTINGS, Name, Settings
from entrepot.config.registry_names import TEMPLATE
from entrepot.config.table_contradictions import nowhere_problems, upstream_problems
from entrepot.config.toml_documents import toml_document
from entrepot.config.toml_text import heading, literal
from entrepot.config.upstreams import UpstreamSettings

FILE_NAME: Final = "upstreams.toml"

_TABLE: Final = "upstreams"
_NOTE: Final = "# Written by Entrepot while it runs; it holds passwords.\n"


def runtime_upstreams_path(settings: Settings) -> Path:
    """Return where the file is."""
    return settings.storage.path / FILE_NAME


def read_runtime_upstreams(path: Path) -> Mapping[str, UpstreamSettings]:
    """Read the file; there are none where it does not exist. Raise ConfigError with everything
    that is wrong, also if it cannot be read."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError([Problem(str(path), f"cannot be read: {reason}")]) from None
    document = toml_document(text, str(path))
    layer, problems = read_document(document)
    problems += [
        Problem(given.origin, f"{'.'.join(name)} does not belong here", "only upstreams do")
        for name, given in layer.items()
        if name[0] != _TABLE
    ]
    return _checked({name: layer[name] for name in layer if name[0] == _TABLE}, problems)


def parse_upstreams(content: Mapping[str, object], origin: str) -> Mapping[str, UpstreamSettings]:
    """Check tables that come from elsewhere, e.g. `{"quay.io": {"max_size": "10GiB"}}` from a
    request's JSON, as those of a file are. Raise ConfigError; `origin` names the place in it."""
    layer: Layer = {}
    document = Document({_TABLE: content}, lambda _: origin)
    return _checked(layer, read_tables(document, (_TABLE,), _TABLE, layer))


def write_runtime_upstreams(path: Path, upstreams: Mapping[str, UpstreamSettings]) -> None:
    """Replace the file in one step; only keys that differ from their defaults are written. Its
    directory must exist. Raise OSError."""
    text = _NOTE + "".join(
        f"\n{heading(_TABLE, name)}\n"
        + "".join(
            f"{key} = {literal(value)}\n" for key, value in written_upstream(upstream).items()
        )
        for name, upstream in upstreams.items()
    )
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(opened, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def written_upstream(upstream: UpstreamSettings) -> dict[str, object]:
    """Return the keys that differ from their defaults, as an operator would write them, secrets
    included."""
    return {
        key: setting.written(value)
        for key, setting in TABLE_SETTINGS[_TABLE].items()
        if (value := getattr(upstream, key)) != setting.kind.read(setting.default)
    }


def shown_upstream(upstream: UpstreamSettings) -> dict[str, object]:
    """Do what `written_upstream` does, with secrets hidden."""
    return {
        key: TABLE_SETTINGS[_TABLE][key].shown(getattr(upstream, key))
        for key in written_upstream(upstream)
    }


def merged_upstreams(
    settings: Settings, runtime: Mapping[str, UpstreamSettings]
) -> Mapping[str, UpstreamSettings]:
    """Return the upstreams by name: those of the settings, of run time, and the default registry
    where it needs no table. The template `*` is none: see `unlisted_upstream`."""
    merged = {**settings.upstreams, **runtime}
    template = merged.pop(TEMPLATE, UpstreamSettings())
    default = settings.proxy.default_registry
    known = {*merged}.union(*(upstream.aliases for upstream in merged.values()))
    if default and default not in known:
        merged[default] = template
    return merged


def unlisted_upstream(settings: Settings) -> UpstreamSettings:
    """Return the settings of a registry that has no table, for `proxy.open`."""
    return settings.upstreams.get(TEMPLATE, UpstreamSettings())


def _checked(layer: Layer, problems: list[Problem]) -> Mapping[str, UpstreamSettings]:
    values: dict[Name, Any] = {}
    origins: dict[Name, str] = {}
    problems = [*problems, *overlay(values, origins, layer)]
    upstreams: dict[str, UpstreamSettings] = tables(values, origins, _TABLE)
    problems += upstream_problems(upstreams, origins)
    if TEMPLATE in upstreams:
        hint = "write it into the configuration"
        problems.append(Problem(origins[_TABLE, TEMPLATE], "* cannot be set at run time", hint))
    problems = problems or nowhere_problems(upstreams, origins)
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return upstreams
