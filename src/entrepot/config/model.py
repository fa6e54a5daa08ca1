"""The model: every setting, its meaning, its default and its bounds. Documentation, readers
and checks are derived from what stands here.

Sizes are in bytes and durations in seconds once read; people write `64KiB` and `5m`.
"""

# ruff: noqa: RUF009  `setting` makes a dataclass field, whatever the annotation beside it

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, cast

from entrepot.config.kinds import (
    ADDRESSES,
    BOOLEAN,
    DATABASE_URL,
    DURATION,
    HEADER_TEXTS,
    INTEGER,
    OPTIONAL_PATH,
    PATH,
    SIZE,
    DatabaseURL,
    choice,
)
from entrepot.config.proxy import AccessSettings, CacheSettings, ProxySettings, RedirectSettings
from entrepot.config.setting import Setting, setting
from entrepot.config.upstreams import SiteSettings, UpstreamSettings

MAX_AUTOMATIC_WORKERS: Final = 4


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where requests are taken, and what a client may ask of a connection."""

    listen: tuple[str, ...] = setting(
        ADDRESSES,
        ["127.0.0.1:5000"],
        "Addresses to listen on. Without a host every interface is meant; port 0 takes a free "
        "port.",
        flag="--listen",
    )
    workers: int = setting(
        INTEGER,
        0,
        f"Worker processes; 0 takes one per usable CPU, at most {MAX_AUTOMATIC_WORKERS}.",
        minimum=0,
        maximum=256,
        flag="--workers",
    )
    tls_certificate: Path | None = setting(
        OPTIONAL_PATH,
        "",
        "PEM file with the certificate and its chain. Set it together with `tls_key` to serve "
        "HTTPS.",
        flag="--tls-certificate",
    )
    tls_key: Path | None = setting(
        OPTIONAL_PATH, "", "PEM file with the certificate's private key.", flag="--tls-key"
    )
    http2: bool = setting(BOOLEAN, True, "Offer HTTP/2 beside HTTP/1.1.")
    shutdown_timeout: float = setting(
        DURATION,
        "30s",
        "How long running requests may go on after SIGTERM before they are cut.",
        minimum="0s",
        maximum="1d",
    )
    idle_timeout: float = setting(
        DURATION,
        "75s",
        "How long a connection may stay open without a request.",
        minimum="1s",
        maximum="1d",
    )
    header_timeout: float = setting(
        DURATION,
        "30s",
        "How long a client may take to send a request's header (and the TLS handshake).",
        minimum="1s",
        maximum="1h",
    )
    body_timeout: float = setting(
        DURATION,
        "60s",
        "How long a transfer may stand still, in either direction. Slow is fine, stalled is not.",
        minimum="1s",
        maximum="1h",
    )
    max_header_bytes: int = setting(
        SIZE, "64KiB", "Largest request header.", minimum="4KiB", maximum="1MiB"
    )
    max_connections: int = setting(
        INTEGER,
        10_000,
        "Open connections per worker; more are refused.",
        minimum=1,
        maximum=1_000_000,
    )
    access_log: bool = setting(
        BOOLEAN, True, 'Log one line per request. The lines have level "info".'
    )

    def worker_count(self, usable_cpus: int) -> int:
        """Return how many workers to run where `usable_cpus` may be used."""
        return self.workers or max(1, min(usable_cpus, MAX_AUTOMATIC_WORKERS))


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Where the content of blobs and manifests is kept."""

    driver: Literal["filesystem"] = setting(
        choice("filesystem"), "filesystem", "What kind of store holds the content."
    )
    path: Path = setting(
        PATH,
        "entrepot-data",
        "The data directory. A relative path starts at the working directory.",
        flag="--data",
    )
    durable: bool = setting(
        BOOLEAN,
        True,
        "Answer a push only when its content and the database are safely on disk. `false` is "
        "faster, but a power failure may lose what was just pushed.",
    )
    upload_expiry: float = setting(
        DURATION,
        "7d",
        "How long an upload may lie untouched before it is dropped.",
        minimum="1m",
        maximum="3650d",
    )
    blob_lease: float = setting(
        DURATION,
        "24h",
        "How long a blob that no manifest references is kept; uploading, checking for or "
        "mounting it starts the time anew.",
        minimum="1m",
        maximum="3650d",
    )


@dataclass(frozen=True, slots=True)
class MetadataSettings:
    """The database of repositories, tags, manifests and links."""

    url: DatabaseURL = setting(
        DATABASE_URL,
        "",
        "The database. Empty means the SQLite file `metadata.db` inside `storage.path`. On "
        "PostgreSQL each worker opens up to 8 connections; `max_connections` there must "
        "allow them.",
    )


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """What the registry API permits."""

    delete_tags: bool = setting(BOOLEAN, True, "Let clients delete tags.")
    delete_manifests: bool = setting(BOOLEAN, True, "Let clients delete manifests.")
    delete_blobs: bool = setting(BOOLEAN, True, "Let clients delete blobs.")
    require_blobs: bool = setting(
        BOOLEAN,
        True,
        "Refuse an image unless its config and layers are already in the repository. `false` "
        "takes sparse images, whose missing blobs may come later or never.",
    )
    require_index_children: bool = setting(
        BOOLEAN,
        False,
        "Refuse an index unless every manifest it lists is already in the repository.",
    )
    max_manifest_size: int = setting(
        SIZE, "4MiB", "Largest manifest that may be pushed.", minimum="64KiB", maximum="64MiB"
    )
    max_page_size: int = setting(
        INTEGER,
        1000,
        "Most entries in one page of tags, repositories or referrers, and how many there are "
        "where the client does not say; a `Link` header leads to the rest.",
        minimum=1,
        maximum=10_000,
    )
    chunk_min_length: int = setting(
        SIZE,
        "0B",
        "Ask clients for chunks of at least this size (`OCI-Chunk-Min-Length`); 0 asks nothing.",
        maximum="1GiB",
    )
    mount_from_anywhere: bool = setting(
        BOOLEAN,
        True,
        "Let a mount that names no source repository take the blob from any that holds it "
        "and that the client may pull.",
    )
    warnings: tuple[str, ...] = setting(
        HEADER_TEXTS, [], "Texts sent to clients as `Warning: 299` with every `/v2/` response."
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged to standard error. Credentials never are."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        choice("debug", "info", "warning", "error"),
        "info",
        "The least severe messages to log.",
        flag="--log-level",
    )
    format: Literal["auto", "human", "json"] = setting(
        choice("auto", "human", "json"),
        "auto",
        "How lines look; `auto` is `human` on a terminal and `json` elsewhere.",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration. `Settings()` holds the defaults."""

    server: ServerSettings = field(default_factory=ServerSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    metadata: MetadataSettings = field(default_factory=MetadataSettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    proxy: ProxySettings = field(default_factory=ProxySettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    redirect: RedirectSettings = field(default_factory=RedirectSettings)
    log: LogSettings = field(default_factory=LogSettings)
    upstreams: Mapping[str, UpstreamSettings] = field(default_factory=dict)
    sites: Mapping[str, SiteSettings] = field(default_factory=dict)

    def cache_path(self, upstream: UpstreamSettings | None = None) -> Path:
        """Return the directory of the cache, or of that of an upstream."""
        own = upstream.cache_path if upstream is not None else None
        return own or self.cache.path or self.storage.path / "cache"


Name = tuple[str, ...]
"""A setting's name: its section and its key; or a table, the name in it, and the key, as in
`("upstreams", "docker.io", "proxy")`; or the first two of these for the table as such."""

SECTIONS: Final = {
    one.name: cast("type[Any]", one.default_factory)
    for one in fields(Settings)
    if one.default_factory is not dict
}
"""Every section's class by the section's name, in the model's order; tables with names of their own
(`upstreams`, `sites`) are none."""

TABLES: Final[Mapping[str, type[Any]]] = {"upstreams": UpstreamSettings, "sites": SiteSettings}
"""The class of what stands under a name of its own, by the table's name."""


def _described(model: type[Any]) -> dict[str, Setting]:
    return {one.name: one.metadata["setting"] for one in fields(model)}


SETTINGS: Final[dict[tuple[str, str], Setting]] = {
    (section, key): described
    for section, model in SECTIONS.items()
    for key, described in _described(model).items()
}
"""Every setting of a section by name, in the model's order."""

TABLE_SETTINGS: Final = {table: _described(model) for table, model in TABLES.items()}
"""The settings of a table by the table's name and the key."""


def setting_of(name: Name) -> Setting:
    """Return what is said about a setting of a section or a table."""
    if len(name) == 3:
        return TABLE_SETTINGS[name[0]][name[2]]
    return SETTINGS[name[0], name[1]]
