"""Settings of the proxy: which names lead elsewhere, what is cached, who may, and redirects."""

# ruff: noqa: RUF009  `setting` makes a dataclass field, whatever the annotation beside it

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from entrepot.config.kinds import (
    BOOLEAN,
    DURATION,
    INTEGER,
    NETWORKS,
    OPTIONAL_PATH,
    OPTIONAL_SIZE,
    OPTIONAL_URL,
    PATTERNS,
    PLATFORMS,
    REGISTRY_URL,
    SECRET,
    TEXT,
    TEXTS,
    UPSTREAM_NAME,
    choice,
)
from entrepot.config.setting import setting


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Which names lead to other registries. The registries themselves are `upstreams`."""

    default_registry: str = setting(
        UPSTREAM_NAME,
        "",
        "The upstream that names without a registry mean, e.g. `docker.io`. Empty: such names are "
        "hosted here.",
    )
    hosted: tuple[str, ...] = setting(
        PATTERNS,
        [],
        "Names that are hosted here although `default_registry` is set; `*` stands for anything.",
    )
    open: bool = setting(
        BOOLEAN,
        False,
        "Mirror any registry that a client names. Whoever reaches this server can then make it "
        "ask any public host.",
    )
    external_url: str = setting(
        OPTIONAL_URL,
        "",
        "How clients reach this server, e.g. `https://mirror.example.com`; empty takes what each "
        "request says.",
    )
    trusted_proxies: tuple[str, ...] = setting(
        NETWORKS,
        [],
        "Networks of proxies in front whose `X-Forwarded-For` and `X-Forwarded-Proto` are "
        "believed.",
    )
    purge_hook: bool = setting(
        BOOLEAN,
        False,
        "Take notifications of registries at `POST /_/purge`: a tag that was pushed or deleted "
        "upstream is forgotten. It needs the login of `access`, if there is one.",
    )


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """What is kept of upstreams, for how long, and what goes when room is needed."""

    path: Path | None = setting(
        OPTIONAL_PATH, "", "The cache's directory. Empty means `cache` inside `storage.path`."
    )
    max_size: int | None = setting(
        OPTIONAL_SIZE, "", "Most bytes of all cached content together. Empty: no limit."
    )
    policy: Literal["lru", "lfu", "gdsf", "s3-fifo", "ttl"] = setting(
        choice("lru", "lfu", "gdsf", "s3-fifo", "ttl"),
        "s3-fifo",
        "What goes first: least recently used, least often used, large and seldom used (gdsf), "
        "used once only (s3-fifo), or stored longest ago (ttl).",
    )
    content_ttl: float = setting(
        DURATION, "30d", "With the policy `ttl`: how long content is kept.", minimum="1s"
    )
    freshness: Literal["always", "ttl", "never", "off"] = setting(
        choice("always", "ttl", "never", "off"),
        "always",
        "When a tag is asked for again upstream: each time, after `tag_ttl`, or never once it is "
        "known; `off` caches no manifests, blobs only.",
    )
    tag_ttl: float = setting(DURATION, "5m", "How long a tag is believed with `ttl`.")
    revalidation_deadline: float = setting(
        DURATION,
        "2s",
        "How long an upstream may take to confirm a cached tag; then the cached one is served.",
        minimum="10ms",
    )
    negative_ttl: float = setting(
        DURATION, "10s", "How long an upstream is not asked again for what it did not have."
    )
    conflict: Literal["order", "newest", "pin"] = setting(
        choice("order", "newest", "pin"),
        "order",
        "Which digest counts when endpoints of an upstream disagree about a tag: that of the "
        "first endpoint, the one seen last, or the one that was cached first.",
    )
    prefetch: bool = setting(
        BOOLEAN, False, "Fetch an image's config and layers as soon as its manifest is pulled."
    )
    warm: tuple[str, ...] = setting(
        TEXTS, [], "Images to keep in the cache, e.g. `docker.io/library/alpine:3`."
    )
    warm_platforms: tuple[str, ...] = setting(
        PLATFORMS,
        [],
        "Which platforms of the images of `warm` are fetched, e.g. `linux/amd64`. Empty: all.",
    )
    warm_interval: float = setting(
        DURATION, "1h", "How often the images of `warm` are looked at.", minimum="10s"
    )
    scrub_interval: float = setting(
        DURATION, "7d", "How often cached content is compared with its digest; 0 is never."
    )
    rate_limit_floor: int = setting(
        INTEGER,
        10,
        "When an upstream tells that fewer requests are left, cached tags are served unasked.",
        minimum=0,
    )


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who may pull through this server, and push to it."""

    username: str = setting(TEXT, "", "The one user. Empty: everybody may do everything.")
    password: str = setting(SECRET, "", "The user's password.")
    private: tuple[str, ...] = setting(
        PATTERNS,
        ["*"],
        "Names that need the login; all others may be pulled by everybody. `*` stands for "
        "anything.",
    )
    token_ttl: float = setting(
        DURATION, "5m", "How long a token from `/token` is good.", minimum="60s", maximum="1d"
    )


@dataclass(frozen=True, slots=True)
class RedirectSettings:
    """A domain of one's own for images that are elsewhere: clients are sent there."""

    upstream: str = setting(
        REGISTRY_URL,
        "",
        "Where all names are: an absolute https URL with `/v2/`, e.g. "
        "`https://us-docker.pkg.dev/v2/project/images/`; plain http for hosts of this machine "
        "only. The variable `UpstreamRegistry` sets it, too.",
    )
    check_timeout: float = setting(
        DURATION, "5s", "How long object storage may take to tell whether it has a blob."
    )
    remembered: int = setting(
        INTEGER, 100_000, "How many blobs found in object storage are remembered.", minimum=0
    )
