"""Configuration: what an operator can set, where it is read from, and how it is documented.

    kinds      how one value is written: sizes, durations, addresses, …
    model      the frozen `Settings`; every setting's meaning, default and bounds stand there
    origins    TOML, environment and flags, each as raw values with the place they came from
    loading    flags over environment over file over defaults; every mistake in one ConfigError
    reference  settings as text: the reference page, TOML and JSON with secrets hidden

Standard library only, and no I/O but reading the configuration file. `Settings()` is a complete
configuration without any.
"""

from entrepot.config.errors import ConfigError, Problem
from entrepot.config.kinds import DatabaseURL
from entrepot.config.loading import Resolved, load, resolve
from entrepot.config.model import (
    LogSettings,
    MetadataSettings,
    RegistrySettings,
    ServerSettings,
    Settings,
    StorageSettings,
)
from entrepot.config.origins import FILE_VARIABLE

__all__ = [
    "FILE_VARIABLE",
    "ConfigError",
    "DatabaseURL",
    "LogSettings",
    "MetadataSettings",
    "Problem",
    "RegistrySettings",
    "Resolved",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "load",
    "resolve",
]
