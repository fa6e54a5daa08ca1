"""Settings that have names of their own: each upstream (`[upstreams."docker.io"]`) and each site of
object storage that blobs are redirected to (`[sites.NAME]`).

What an upstream leaves empty is what its preset says (`rules/upstream_presets`), or the section
`cache`. The tables are read by `config/loading` like sections.
"""

# ruff: noqa: RUF009  `setting` makes a dataclass field, whatever the annotation beside it

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from entrepot.config.endpoints import DISCOVERY, DNS_SERVER, ENDPOINTS
from entrepot.config.kinds import (
    BOOLEAN,
    DURATION,
    HEADERS,
    INTEGER,
    NETWORKS,
    OPTIONAL_DURATION,
    OPTIONAL_PATH,
    OPTIONAL_PROXY,
    OPTIONAL_SIZE,
    OPTIONAL_URL,
    PATTERNS,
    REWRITES,
    SECRET,
    TEXT,
    TEXTS,
    UPSTREAM_NAMES,
    choice,
)
from entrepot.config.setting import setting


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """One upstream registry; its table's name is the name it has here."""

    preset: str = setting(
        TEXT, "", "Whose habits it has, e.g. `docker.io` or `custom`; empty goes by its name."
    )
    endpoints: tuple[str, ...] = setting(
        ENDPOINTS,
        [],
        "Where it is asked: URLs with a path in front of `/v2/` if there is one, each followed by "
        "`weight=N` and `cost=N` where they matter, e.g. `https://mirror.example weight=3`. Empty "
        "takes the preset's, or `https://NAME`.",
    )
    discovery: str = setting(
        DISCOVERY,
        "",
        "Find endpoints by DNS: `dns+https://HOST:PORT` for every address of a name, "
        "`srv+https://_SERVICE._tcp.DOMAIN` for its SRV records.",
    )
    dns_server: str = setting(
        DNS_SERVER,
        "",
        "The DNS server that `discovery` asks, as `ADDRESS:PORT`, e.g. Consul's; empty takes the "
        "system's.",
    )
    selection: Literal["order", "round-robin", "least-connections", "latency", "cost"] = setting(
        choice("order", "round-robin", "least-connections", "latency", "cost"),
        "order",
        "Which healthy endpoint is asked first.",
    )
    aliases: tuple[str, ...] = setting(UPSTREAM_NAMES, [], "Further names that mean this upstream.")
    hosts: tuple[str, ...] = setting(
        UPSTREAM_NAMES,
        [],
        "Names of this server (`Host`) under which everything is this upstream's.",
    )
    mode: Literal["mirror", "redirect"] = setting(
        choice("mirror", "redirect"),
        "mirror",
        "Cache what is pulled, or send clients to the upstream.",
    )
    auth: Literal["auto", "anonymous", "basic", "header", "exec"] = setting(
        choice("auto", "anonymous", "basic", "header", "exec"),
        "auto",
        "How to log in: as it asks (`auto`), not at all, always by Basic, by a fixed header, or "
        "with what `exec` prints.",
    )
    username: str = setting(TEXT, "", "The name to log in with.")
    password: str = setting(SECRET, "", "The password or token to log in with.")
    headers: tuple[str, ...] = setting(
        HEADERS, [], "Header fields for every request to it, e.g. `X-JFrog-Art-Api: KEY`."
    )
    exec: tuple[str, ...] = setting(
        TEXTS,
        [],
        "A program that prints credentials as docker's credential helpers do for `get`; the "
        "upstream's host is given on its standard input.",
    )
    credentials_ttl: float = setting(
        DURATION, "10m", "How long what `exec` printed is used.", minimum="1s"
    )
    allowed_realms: tuple[str, ...] = setting(
        TEXTS, [], "Token servers elsewhere that may be sent this login."
    )
    insecure: bool = setting(
        BOOLEAN, False, "Allow plain HTTP, and certificates of unknown authorities."
    )
    ca_file: Path | None = setting(
        OPTIONAL_PATH, "", "PEM file with authorities to trust beside the system's."
    )
    client_certificate: Path | None = setting(OPTIONAL_PATH, "", "PEM file to show it.")
    client_key: Path | None = setting(OPTIONAL_PATH, "", "The certificate's private key.")
    proxy: str | None = setting(
        OPTIONAL_PROXY,
        "environment",
        "Egress proxy: `http://`, `https://`, `socks5://` or `socks5h://` with credentials if it "
        "wants them; `none`, or what the `environment` says.",
    )
    follow_redirects: bool = setting(
        BOOLEAN,
        True,
        "Follow its redirects and cache what they lead to; false hands them to the client.",
    )
    official: str = setting(
        TEXT, "auto", "The namespace of one-word names, e.g. `library`; `auto` asks the preset."
    )
    rewrites: tuple[str, ...] = setting(
        REWRITES, [], "Other names upstream: `rancher/*=stable/rancher/*`; the first match counts."
    )
    allow: tuple[str, ...] = setting(PATTERNS, ["*"], "Names that may be pulled.")
    deny: tuple[str, ...] = setting(PATTERNS, [], "Names that may not, also if allowed.")
    cache_path: Path | None = setting(OPTIONAL_PATH, "", "A cache directory of its own.")
    max_size: int | None = setting(OPTIONAL_SIZE, "", "Most bytes of it in the cache.")
    freshness: str = setting(
        choice("", "always", "ttl", "never", "off"), "", "See `cache.freshness`."
    )
    tag_ttl: float | None = setting(OPTIONAL_DURATION, "", "See `cache.tag_ttl`.")
    conflict: str = setting(choice("", "order", "newest", "pin"), "", "See `cache.conflict`.")
    probe_interval: float = setting(
        DURATION, "30s", "How often each endpoint is probed; 0 is never.", minimum="0s"
    )
    failures: int = setting(
        INTEGER, 5, "Failures in a row after which an endpoint is left out.", minimum=1
    )
    ejection: float = setting(
        DURATION, "10s", "How long it is left out at first; each time twice as long, up to 5m."
    )
    connect_timeout: float = setting(DURATION, "10s", "How long connecting may take.")
    stall_timeout: float = setting(DURATION, "30s", "How long it may say nothing.")


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """A bucket of object storage for clients of some networks, as registry.k8s.io has them."""

    url: str = setting(
        OPTIONAL_URL,
        "",
        "Where blobs are: `{digest}`, `{algorithm}` and `{hex}` are filled in, e.g. "
        "`https://bucket.s3.eu-west-1.amazonaws.com/containers/images/{digest}`.",
    )
    networks: tuple[str, ...] = setting(NETWORKS, [], "Addresses of the clients that go there.")
    cloud: str = setting(TEXT, "", "The cloud's name, for logs.")
    region: str = setting(TEXT, "", "The region's name, for logs.")
