"""Upstreams from their settings: endpoints, routes and rules, with what presets know filled in."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from entrepot.config import Settings
from entrepot.config.endpoints import MAX_WEIGHT, EndpointSettings
from entrepot.config.runtime_upstreams import unlisted_upstream
from entrepot.config.upstreams import UpstreamSettings
from entrepot.oci.errors import Unsupported
from entrepot.ports.mirror_books import MirrorBooks
from entrepot.rules.circuit_breaker import BreakerPolicy
from entrepot.rules.source_routing import Route, RoutingTable
from entrepot.services.mirror_place import MirrorRules
from entrepot.services.upstream import Upstream
from entrepot.services.upstream_addresses import completed, endpoints_of
from entrepot.services.upstream_pool import PooledEndpoint
from entrepot.services.upstream_watch import Discovered

if TYPE_CHECKING:
    from entrepot.adapters.remotes.upstream_endpoints import Transports


def open_upstream(
    name: str,
    settings: UpstreamSettings,
    *,
    environ: Mapping[str, str],
    books: MirrorBooks,
    transports: "Transports",
    listed: bool = True,
) -> Upstream:
    """Open an upstream without asking anybody. One that is not `listed` leads to the internet
    only. Raise Unsupported, NameInvalid."""
    from entrepot.adapters.remotes.upstream_endpoints import open_endpoint

    settings = completed(name, settings)

    def opened(endpoint: EndpointSettings) -> PooledEndpoint:
        made = open_endpoint(
            endpoint.url, settings, environ=environ, transports=transports, listed=listed
        )
        return PooledEndpoint(made, endpoint.weight, endpoint.cost)

    known: dict[str, PooledEndpoint] = {}

    async def discover() -> Discovered:
        """Ask DNS. What it knew before stays the same object, with its connections."""
        from entrepot.adapters.remotes.discovery import resolve
        from entrepot.adapters.remotes.dns_client import DnsClient

        address, _, port = settings.dns_server.rpartition(":")
        servers = [(address.strip("[]"), int(port))] if settings.dns_server else None
        found = await resolve(settings.discovery, DnsClient(servers))
        first = min(one.priority for one in found.endpoints)
        pooled = {
            one.url: known.get(one.url)
            or opened(EndpointSettings(one.url, min(one.weight, MAX_WEIGHT)))
            for one in found.endpoints
            # Others are for when these are away, which only an order can say.
            if one.priority == first or settings.selection == "order"
        }
        known.clear()
        known.update(pooled)
        return Discovered(tuple(pooled.values()), found.ttl)

    return Upstream(
        name,
        [opened(endpoint) for endpoint in endpoints_of(name, settings)],
        books=books,
        selection=settings.selection,
        breaker=BreakerPolicy(failures=settings.failures, ejection=settings.ejection),
        probe_interval=settings.probe_interval,
        discover=discover if settings.discovery else None,
    )


def rules_of(settings: Settings, upstream: UpstreamSettings) -> MirrorRules:
    """Return the rules of an upstream: its own, else those of the section `cache`."""
    cache = settings.cache
    return MirrorRules(
        freshness=cast("Any", upstream.freshness or cache.freshness),
        tag_ttl=cache.tag_ttl if upstream.tag_ttl is None else upstream.tag_ttl,
        deadline=cache.revalidation_deadline,
        negative_ttl=cache.negative_ttl,
        conflict=cast("Any", upstream.conflict or cache.conflict),
        floor=cache.rate_limit_floor,
        limit=upstream.max_size,
        prefetch=cache.prefetch,
        follow_redirects=upstream.follow_redirects,
    )


def routing_table(settings: Settings, upstreams: Mapping[str, UpstreamSettings]) -> RoutingTable:
    """Return the routes to all upstreams. Raise NameInvalid for names that two share."""

    def route(name: str, one: UpstreamSettings) -> Route:
        return Route.of(
            name,
            preset=one.preset,
            aliases=one.aliases,
            hosts=one.hosts,
            mode=one.mode,
            official=one.official,
            rewrites=one.rewrites,
            allow=one.allow,
            deny=one.deny,
        )

    unlisted = unlisted_upstream(settings)
    proxy = settings.proxy
    elsewhere = settings.redirect.upstream
    own = [proxy.external_url.partition("://")[2]] if proxy.external_url else []
    return RoutingTable.of(
        [route(name, one) for name, one in upstreams.items()],
        default=proxy.default_registry,
        everything=Route.of(elsewhere, mode="redirect") if elsewhere else None,
        hosted=proxy.hosted,
        open=proxy.open,
        own=own,
        template=lambda host: route(host, unlisted),
    )


def redirect_places(
    settings: Settings, upstreams: Mapping[str, UpstreamSettings]
) -> dict[str, str]:
    """Return the URL that names are appended to, of each upstream that clients are sent to."""
    places = {}
    for name, one in upstreams.items():
        if one.mode == "redirect":
            first = next(iter(endpoints_of(name, one)), None)
            if first is None:
                raise Unsupported(
                    f"clients cannot be sent to {name}, whose endpoints are found by DNS; give it "
                    "an endpoint",
                    detail={"upstream": name},
                )
            places[name] = f"{first.url}/v2/"
    if settings.redirect.upstream:
        places[settings.redirect.upstream] = settings.redirect.upstream
    return places
