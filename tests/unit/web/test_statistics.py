"""`/_/health` and `/_/stats`: exactly the JSON that scripts around the proxy of old read."""

from collections.abc import Mapping
from typing import cast

from entrepot.ports.cache_index import CacheIndex, Usage
from entrepot.web.statistics import health, statistics
from tests.unit.web.requests import document, header, text


class Counted:
    """A cache index of which only the usage is asked for."""

    def __init__(self, usages: Mapping[str, Usage]) -> None:
        self.upkeep = self
        self._usages = usages

    async def usage(self) -> Mapping[str, Usage]:
        return self._usages


def counted(**usages: Usage) -> CacheIndex:
    return cast(
        CacheIndex, Counted({name.replace("_", "."): usage for name, usage in usages.items()})
    )


def test_health_is_a_word() -> None:
    """PX-08"""
    assert text(health()) == '{"status": "healthy"}'


async def test_statistics_are_those_of_the_mission() -> None:
    """PX-08"""
    hub = Usage(size=524288000, items=15, hits=42, misses=8, evictions=2, stale=9)
    response = await statistics([counted(docker_io=hub)], {"docker.io": 1073741824})
    assert header(response, "content-type") == "application/json"
    assert header(response, "cache-control") == "no-store"
    assert document(response) == {
        "registry-1.docker.io": {
            "Hits": 42,
            "Misses": 8,
            "Evictions": 2,
            "Items": 15,
            "CurrentSize": 524288000,
            "MaxSize": 1073741824,
        }
    }


async def test_no_limit_is_zero_and_what_was_never_used_is_there() -> None:
    shown = document(await statistics([counted()], {"quay.io": None}))
    assert shown == {
        "quay.io": {
            "Hits": 0, "Misses": 0, "Evictions": 0, "Items": 0, "CurrentSize": 0, "MaxSize": 0,
        }
    }  # fmt: skip


async def test_what_is_configured_no_more_still_takes_room() -> None:
    shown = document(await statistics([counted(gone_example=Usage(size=7, items=1))], {}))
    assert shown["gone.example"]["CurrentSize"] == 7


async def test_several_caches_add_up() -> None:
    one = counted(quay_io=Usage(size=1, items=2, hits=3, misses=4, evictions=5))
    other = counted(quay_io=Usage(size=10, items=20, hits=30, misses=40, evictions=50))
    shown = document(await statistics([one, other], {"quay.io": 100}))
    assert list(shown["quay.io"].values()) == [33, 44, 55, 22, 11, 100]
