"""`/_/health` and `/_/stats`: what scripts around the proxy of old read, with exactly its JSON."""

from collections.abc import Iterable, Mapping
from typing import Final

from entrepot.oci.address import DOCKER_HUB
from entrepot.ports.cache_index import CacheIndex, Usage
from entrepot.web.documents import respond_with_document
from entrepot.web.message import Response

HEALTH_PATH: Final = "/_/health"
STATISTICS_PATH: Final = "/_/stats"

_HOSTS: Final = {DOCKER_HUB: "registry-1.docker.io"}
"""Hosts of upstreams that are known by another name."""


def health() -> Response:
    """Answer that the process handles requests."""
    return respond_with_document({"status": "healthy"})


async def statistics(
    indexes: Iterable[CacheIndex], max_sizes: Mapping[str, int | None]
) -> Response:
    """Return how each upstream's cache was used and what it takes, in bytes, by the upstream's
    host. Raise Unavailable.

    `max_sizes` names the upstreams that are configured, each with the most bytes it may take, None
    without a limit (shown as 0); those that nothing was pulled from yet are shown, too.
    """
    totals = dict.fromkeys(max_sizes, Usage())
    for index in indexes:
        for name, usage in (await index.upkeep.usage()).items():
            totals[name] = _sum(totals.get(name, Usage()), usage)
    return respond_with_document(
        {
            _HOSTS.get(name, name): _shown(totals[name], max_sizes.get(name) or 0)
            for name in sorted(totals)
        }
    )


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        size=one.size + other.size,
        items=one.items + other.items,
        hits=one.hits + other.hits,
        misses=one.misses + other.misses,
        evictions=one.evictions + other.evictions,
    )


def _shown(usage: Usage, max_size: int) -> dict[str, int]:
    return {
        "Hits": usage.hits,
        "Misses": usage.misses,
        "Evictions": usage.evictions,
        "Items": usage.items,
        "CurrentSize": usage.size,
        "MaxSize": max_size,
    }
