"""Configuration: what an operator can set, where it is read from, and how it is documented.

    kinds, urls, endpoints, registry_names
                         how one value is written: sizes, durations, addresses, upstreams, …
    model, proxy, upstreams
                         the frozen `Settings`; every setting's meaning, default and bounds
    documents, toml_documents, yaml_documents
                         sections and tables as they were written, with their lines
    yaml_dialect, environment_dialect
                         the files and variables of other programs, as our settings
    origins              files, environment and flags, each as raw values with their place
    loading              flags over environment over file over defaults, all mistakes at once
    contradictions, table_contradictions
                         what is right one by one but not together
    runtime_upstreams    the server's own file of upstreams that were added while it ran
    reference, toml_text settings as text: the reference page, TOML and JSON with secrets hidden

Standard library only (and PyYAML for a YAML file), and no I/O but reading the configuration file
and the file of `runtime_upstreams`. `Settings()` is a complete configuration without any.
"""

from entrepot.config.endpoints import EndpointSettings, parse_endpoint
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
from entrepot.config.proxy import AccessSettings, CacheSettings, ProxySettings, RedirectSettings
from entrepot.config.upstreams import SiteSettings, UpstreamSettings

__all__ = [
    "FILE_VARIABLE",
    "AccessSettings",
    "CacheSettings",
    "ConfigError",
    "DatabaseURL",
    "EndpointSettings",
    "LogSettings",
    "MetadataSettings",
    "Problem",
    "ProxySettings",
    "RedirectSettings",
    "RegistrySettings",
    "Resolved",
    "ServerSettings",
    "Settings",
    "SiteSettings",
    "StorageSettings",
    "UpstreamSettings",
    "load",
    "parse_endpoint",
    "resolve",
]
