"""Origins: raw values from a file, the environment and flags, each with its place."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from entrepot.config.documents import Document, Given, Layer, read_document, read_tables
from entrepot.config.environment_dialect import from_environment_dialect
from entrepot.config.errors import ConfigError, Problem
from entrepot.config.model import SETTINGS, TABLES, Name
from entrepot.config.suggestions import did_you_mean, nearest
from entrepot.config.toml_documents import toml_document

PREFIX: Final = "ENTREPOT_"
FILE_VARIABLE: Final = "ENTREPOT_CONFIG"
YAML_SUFFIXES: Final = (".yaml", ".yml")


def variable(name: Name) -> str:
    """Return the environment variable of a setting, e.g. `ENTREPOT_SERVER_LISTEN`."""
    section, key = name
    return f"{PREFIX}{section}_{key}".upper()


_VARIABLES: Final = {variable(name): name for name in SETTINGS}


def table_variable(table: str) -> str:
    """Return the environment variable of all tables of a kind, e.g. `ENTREPOT_UPSTREAMS`."""
    return f"{PREFIX}{table}".upper()


_TABLE_VARIABLES: Final = {table_variable(table): table for table in TABLES}


def from_file(file: Path) -> tuple[Layer, list[Problem]]:
    """Read a file of sections and tables, in TOML or YAML, or one of oci-proxy in YAML."""
    try:
        text = file.read_bytes().decode()
        if file.suffix.lower() in YAML_SUFFIXES:
            return _from_yaml(text, str(file))
        return read_document(toml_document(text, str(file)))
    except OSError as error:
        return {}, [Problem(str(file), f"cannot be read: {error.strerror or error}")]
    except UnicodeDecodeError as error:
        return {}, [Problem(str(file), f"is not UTF-8 text: byte {error.start} is wrong")]
    except ConfigError as error:
        return {}, list(error.problems)


def _from_yaml(text: str, origin: str) -> tuple[Layer, list[Problem]]:
    from entrepot.config import yaml_dialect
    from entrepot.config.yaml_documents import yaml_text

    read = yaml_text(text, origin)
    if yaml_dialect.is_dialect(read):
        return yaml_dialect.from_dialect(read)
    mixture = yaml_dialect.mixture(read)
    return ({}, mixture) if mixture else read_document(read.document())


# Kubernetes sets these in every container beside a service called `entrepot`.
_OF_KUBERNETES: Final = re.compile(r"ENTREPOT_(?:SERVICE_(?:HOST|PORT\w*)|PORT(?:_\w+)?)", re.ASCII)


def from_environment(environ: Mapping[str, str]) -> tuple[Layer, list[Problem]]:
    """Read every `ENTREPOT_<SECTION>_<KEY>`, tables as JSON, and the redirecting proxy's own two
    variables; others are not ours."""
    layer, problems = from_environment_dialect(environ)
    for one, value in environ.items():
        if not one.startswith(PREFIX) or one == FILE_VARIABLE or _OF_KUBERNETES.fullmatch(one):
            continue
        if one in _VARIABLES:
            layer[_VARIABLES[one]] = Given(value, one, text=True)
        elif one in _TABLE_VARIABLES:
            problems += _from_json(one, value, layer)
        else:
            names = {name.lower(): name for name in (*_VARIABLES, *_TABLE_VARIABLES, FILE_VARIABLE)}
            near = nearest(one, names)
            hint = did_you_mean(names[near] if near else None)
            problems.append(Problem(one, "unknown variable", hint))
    return layer, problems


def _from_json(one: str, text: str, layer: Layer) -> list[Problem]:
    """Read a variable such as `{"quay.io": {"max_size": "10GiB"}}`."""
    table = _TABLE_VARIABLES[one]
    try:
        content = json.loads(text or "{}")
    except (ValueError, RecursionError):
        hint = 'write {"NAME": {"KEY": VALUE}} with the keys of [' + table + ".NAME]"
        return [Problem(one, "is not valid JSON", hint)]
    return read_tables(Document({table: content}, lambda _: one), (table,), table, layer)


def from_flags(flags: Mapping[str, object]) -> Layer:
    """Take `{"section.key": value}`, where None means that the flag was not given."""
    layer: Layer = {}
    for dotted, value in flags.items():
        section, _, key = dotted.partition(".")
        if value is not None:
            origin = SETTINGS[section, key].flag or dotted
            layer[section, key] = Given(value, origin, text=isinstance(value, str))
    return layer
