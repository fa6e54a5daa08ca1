"""Redirects: where clients are sent for what stands elsewhere. Nothing is fetched or kept.

Manifests, tags and referrers are the upstream's to answer. A blob may be had from object storage
nearer to the client, if one of its sites has it; that is asked once and remembered.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from entrepot.logs import get_logger
from entrepot.oci.digest import Digest
from entrepot.oci.errors import RegistryError, Unavailable, Unsupported
from entrepot.ports.blob_check import BlobCheck
from entrepot.protocol import routes
from entrepot.rules.site_choice import Address, sites_by_network
from entrepot.rules.sources import Redirected
from entrepot.services.flights import Flights

REMEMBERED_SECONDS: Final = 3600.0
"""How long a blob that was found is believed to be there: buckets lose objects to their rules."""

PAUSE_SECONDS: Final = 10.0
"""How long a site that could not be asked is left alone, so that one that hangs does not hold up
every layer of every pull."""

Readable = routes.Manifest | routes.Blob | routes.TagsList | routes.Referrers
"""What a client can be sent away for."""

_VISIBLE: Final = frozenset(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class Site:
    """A bucket of object storage. In `url`, `{digest}`, `{algorithm}` and `{hex}` are filled in;
    `networks` are those of the clients that are near to it."""

    name: str
    url: str
    networks: tuple[str, ...] = ()
    cloud: str = ""
    region: str = ""

    def blob(self, digest: Digest) -> str:
        """Return the URL of a blob here."""
        parts = {"{digest}": str(digest), "{algorithm}": digest.algorithm, "{hex}": digest.hex}
        url = self.url
        for mark, value in parts.items():
            url = url.replace(mark, value)
        return url


@dataclass(frozen=True, slots=True)
class RedirectPlace:
    """Where the names of one upstream are: `host`, and in front of every name there `prefix`,
    which is empty or ends with `/`. An image of the name `x` is pulled directly from
    `{host}/{prefix}x`. `url` is what names are appended to."""

    upstream: str
    url: str
    host: str
    prefix: str


class Redirects:
    """Knows where to send clients. `places` maps each upstream to the URL that its names are
    appended to, with `/v2/` in it and a slash at its end; `remembered` is how many blobs found in
    object storage are kept in mind. `clock` counts seconds from anywhere.

    Raise Unsupported if two sites claim the same network, or a site has no URL for a blob.
    """

    def __init__(
        self,
        places: Mapping[str, str],
        *,
        sites: Iterable[Site] = (),
        check: BlobCheck | None = None,
        remembered: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = {name: _place(name, url) for name, url in places.items()}
        self._sites = {site.name: site for site in sites} if check is not None else {}
        for site in self._sites.values():
            _require_digest(site)
        self._near = sites_by_network({site.name: site.networks for site in self._sites.values()})
        self._check = check
        self._remembered = remembered
        self._clock = clock
        self._found: OrderedDict[str, float] = OrderedDict()
        self._resting: dict[str, float] = {}
        self._flights: Flights[bool] = Flights()
        self._log = get_logger("redirects")

    async def target(
        self, source: Redirected, route: Readable, *, query: str = "", client: Address | None = None
    ) -> str:
        """Return the absolute URL that answers a request, for a client at an address.

        `query` is raw; its `ns` is left out, as it is meant for this server. Raise Unsupported if
        it holds what no URL can, Unavailable if nobody has said where the upstream is.
        """
        place = self._places.get(source.upstream)
        if place is None:
            raise Unavailable(
                f"nobody has said where {source.upstream} is; give it an endpoint",
                detail={"upstream": source.upstream},
            )
        if isinstance(route, routes.Blob):
            near = await self._nearby(route.digest, client)
            if near is not None:
                return near
        kept = forwarded_query(query)
        return f"{place.url}{_path(source, route)}" + (f"?{kept}" if kept else "")

    def describe(self) -> tuple[RedirectPlace, ...]:
        """Return where every upstream is, for people to read."""
        return tuple(self._places.values())

    async def close(self) -> None:
        """Stop asking sites."""
        await self._flights.close()

    async def _nearby(self, digest: Digest, client: Address | None) -> str | None:
        """Return the URL of a blob at the client's site, if it is there."""
        name = self._near.find(client) if client is not None else None
        if name is None:
            return None
        site = self._sites[name]
        url = site.blob(digest)
        if self._is_known(url):
            return url
        if self._resting.get(name, self._clock()) > self._clock():
            return None
        # Whoever came first may leave; the others still want the answer.
        task, _ = self._flights.join(url, lambda: self._ask(site, url))
        return url if await asyncio.shield(task) else None

    async def _ask(self, site: Site, url: str) -> bool:
        assert self._check is not None  # there are sites only with it
        try:
            found = await self._check.has(url)
        except RegistryError as error:
            self._resting[site.name] = self._clock() + PAUSE_SECONDS
            self._log.warning(
                "site_left_out",
                site=site.name,
                cloud=site.cloud,
                region=site.region,
                seconds=PAUSE_SECONDS,
                error=error.message,
            )
            return False
        if found:
            self._remember(url)
        return found

    def _is_known(self, url: str) -> bool:
        until = self._found.get(url)
        if until is None:
            return False
        if until <= self._clock():
            del self._found[url]
            return False
        self._found.move_to_end(url)
        return True

    def _remember(self, url: str) -> None:
        self._found[url] = self._clock() + REMEMBERED_SECONDS
        self._found.move_to_end(url)
        while len(self._found) > self._remembered:
            self._found.popitem(last=False)


def forwarded_query(query: str) -> str:
    """Return a raw query without `ns`, otherwise as it came. Raise Unsupported if a character in
    it may not stand in a URL: a Location must never hold it."""
    if not _VISIBLE.issuperset(query) or "#" in query:
        raise Unsupported("the query holds characters that no URL may have; percent-encode them")
    if "ns" not in query:
        return query
    return "&".join(one for one in query.split("&") if one.partition("=")[0] != "ns")


def _path(source: Redirected, route: Readable) -> str:
    """Return what a route is called behind `/v2/`, under the upstream's name for it."""
    match route:
        case routes.Manifest(reference=reference):
            path = routes.manifest_path(source.name, reference)
        case routes.Blob(digest=digest):
            path = routes.blob_path(source.name, digest)
        case routes.Referrers(digest=digest):
            path = routes.referrers_path(source.name, digest)
        case routes.TagsList():
            path = routes.tags_path(source.name)
    return path.removeprefix(routes.BASE_PATH)


def _place(upstream: str, url: str) -> RedirectPlace:
    parts = urlsplit(url)
    front, base, prefix = parts.path.partition(routes.BASE_PATH)
    usable = parts.scheme in ("http", "https") and parts.netloc and "@" not in parts.netloc
    if not (usable and base and url.endswith("/") and _VISIBLE.issuperset(url)):
        raise Unsupported(
            f"names of {upstream} cannot be redirected to {url[:255]!r}; it must be an absolute "
            "URL with /v2/ in it and / at its end"
        )
    return RedirectPlace(upstream, url, f"{parts.netloc}{front}", prefix)


def _require_digest(site: Site) -> None:
    url = site.url
    if not ("{digest}" in url or "{hex}" in url) or not _VISIBLE.issuperset(url):
        raise Unsupported(
            f"the site {site.name} has no URL for each blob; put {{digest}} or {{hex}} into it, as "
            "in https://bucket.example/blobs/{digest}"
        )
