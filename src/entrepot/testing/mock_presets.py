"""Public registries as their protocol is documented: realms, redirects, headers and quirks.

Hosts are loopback ports, so what depends on names cannot show; what a registry does can.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from entrepot.testing.mock_exchange import Exchange, Reply, Request, What
from entrepot.testing.mock_faults import Headers, RedirectTo, Status
from entrepot.testing.mock_tokens import TokenFlavour, TokenServer

if TYPE_CHECKING:
    from entrepot.testing.mock_registry import MockRegistry


@dataclass(frozen=True, slots=True)
class Manners:
    """What sets a registry apart. Without `tokens` and `basic` everybody may read and write."""

    tokens: TokenFlavour | None = None
    elsewhere: bool = False
    """Whether tokens come from another origin."""
    basic: str = ""
    """The realm of Basic authentication."""
    redirect: int = 0
    """The status that blobs are redirected with; 0 sends them."""
    relative: bool = False
    """Whether Locations are relative."""
    redirect_manifests: bool = False
    read_only: bool = False
    catalog: bool = False
    delete: bool = True
    referrers: bool = True
    head_refused: bool = False
    """Whether HEAD of a blob is 401."""
    limit: int | None = None
    """Manifests per six hours; HEAD is free."""
    headers: Mapping[str, str | None] = field(default_factory=dict, hash=False)


_GET_ONLY: Final = TokenFlavour(post_refused=405)
_HIDDEN: Final = TokenFlavour(path="/v2/token", basic=True, challenge_everywhere=False)

PRESETS: Final[Mapping[str, Manners]] = {
    "docker.io": Manners(
        tokens=TokenFlavour(service="registry.docker.io", post_refused=0, refresh=True),
        elsewhere=True,
        redirect=307,
        limit=100,
    ),
    "quay.io": Manners(
        tokens=replace(_GET_ONLY, path="/v2/auth", service="quay.io"), redirect=302, catalog=True
    ),
    "ghcr.io": Manners(
        tokens=replace(_GET_ONLY, service="ghcr.io", bad_credentials=403),
        redirect=307,
        delete=False,
        referrers=False,
    ),
    "gar": Manners(tokens=_HIDDEN, redirect=302, relative=True, catalog=True),
    "ecr": Manners(basic="https://ecr.example/", redirect=307, catalog=True),
    "ecr-public": Manners(
        tokens=replace(_GET_ONLY, path="/token/", service="public.ecr.aws"),
        redirect=307,
        head_refused=True,
    ),
    "acr": Manners(
        tokens=TokenFlavour(
            path="/oauth2/token",
            service="acr.example",
            post_refused=0,
            passwords_refused=400,
            refresh=True,
            anonymous=None,
            basic=True,
        ),
        redirect=307,
        catalog=True,
    ),
    "mcr": Manners(redirect=307, catalog=True, read_only=True),
    "artifactory": Manners(
        tokens=replace(
            _GET_ONLY, path="/artifactory/api/docker/docker/v2/token", service="art", basic=True
        ),
        catalog=True,
        headers={"X-JFrog-Version": "Artifactory/7"},
    ),
    "cloudflare": Manners(basic="cloudflare", catalog=True),
    "suse": Manners(tokens=replace(_GET_ONLY, path="/auth", service="SUSE Linux Docker Registry")),
    "registry.k8s.io": Manners(redirect=307, redirect_manifests=True, read_only=True),
}
"""Registries by name."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What a preset has put in place: the token server and the storage behind the redirects."""

    manners: Manners
    tokens: TokenServer | None
    storage: "MockRegistry | None"


@dataclass(slots=True)
class Quota:
    """Docker Hub's budget: every GET of a manifest takes one, and beyond it is 429."""

    limit: int
    used: int = 0

    async def __call__(self, exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        if reply.status == 401:
            return reply
        if exchange.request.method == "GET":
            if self.used >= self.limit:
                reply = Reply.of_error(429, "TOOMANYREQUESTS", "You have reached your pull limit")
            else:
                self.used += 1
        return reply.plus(
            (
                ("ratelimit-limit", f"{self.limit};w=21600"),
                ("ratelimit-remaining", f"{self.limit - self.used};w=21600"),
                ("docker-ratelimit-source", "127.0.0.1"),
            )
        )


def apply_preset(registry: "MockRegistry", name: str, users: Mapping[str, str]) -> Preset:
    """Let a registry behave as the one of this name; `users` map names to passwords."""
    manners = PRESETS[name]
    tokens = storage = None
    if manners.tokens is not None:
        elsewhere = manners.elsewhere
        tokens = registry.require_token(manners.tokens, users=users, elsewhere=elsewhere)
    elif manners.basic:
        registry.require_basic(users, realm=manners.basic)
    if manners.read_only:
        _last(registry, Status(405), when=lambda request: not _reads(request))
    if manners.limit is not None:
        _last(registry, Quota(manners.limit), path="*/manifests/*")
    if manners.head_refused:
        _last(registry, Status(401), method="HEAD", path="/v2/*/blobs/*")
    if manners.headers:
        _last(registry, Headers(manners.headers))
    if manners.redirect:
        if not manners.relative:
            storage = registry.other_origin(tls=registry.tls, refuse_authorization=True)
        away = RedirectTo(storage or registry, manners.redirect, relative=manners.relative)
        _last(registry, away, path="/v2/*/blobs/*", when=_reads)
        if manners.redirect_manifests:
            _last(registry, away, path="/v2/*/manifests/*", when=_reads)
    abilities = registry.abilities
    abilities.catalog, abilities.delete = manners.catalog, manners.delete
    abilities.referrers, abilities.relative_locations = manners.referrers, manners.relative
    return Preset(manners, tokens, storage)


def _last(registry: "MockRegistry", what: What, **which: Any) -> None:
    registry.fault(what, times=None, **which).lasting = True


def _reads(request: Request) -> bool:
    return request.method in ("GET", "HEAD")
