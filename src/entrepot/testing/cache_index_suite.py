"""The contract of `entrepot.ports.cache_index`, as tests that any driver can inherit.

    class TestMine(CacheIndexSuite):
        @pytest.fixture
        async def index(self) -> AsyncIterator[CacheIndex]:
            index = ...  # empty
            yield index
            await index.close()

It needs pytest-asyncio in its auto mode. The sentences of the contract are in the parts; here is
what holds over all of them when much happens at once.
"""

import asyncio
import random

from entrepot.ports.cache_index import CacheIndex, Quota
from entrepot.testing.cache_index_contents import CachedContentsSuite, CacheUpkeepSuite
from entrepot.testing.cache_index_evictions import EvictionsSuite
from entrepot.testing.cache_index_examples import (
    HUB,
    NOW,
    OLDEST_FIRST,
    QUAY,
    digest,
    sizes,
    verify_sums,
)
from entrepot.testing.cache_index_names import CacheCatalogSuite, CachedNamesSuite

TASKS = 20
STEPS = 15


class CacheIndexSuite(
    CachedNamesSuite, CacheCatalogSuite, CachedContentsSuite, EvictionsSuite, CacheUpkeepSuite
):
    """Everything the port promises; a subclass gives the fixture `index`."""

    async def verify(self, index: CacheIndex) -> None:
        """Count everything anew and compare; a subclass may look behind the port too."""
        await verify_sums(index)

    async def test_no_more_is_reserved_at_once_than_there_is_room(self, index: CacheIndex) -> None:
        quota = Quota(upstream=100, total=150)
        answers = await asyncio.gather(
            *(
                index.contents.reserve(
                    digest(f"{number}"), 10, (HUB, QUAY)[number % 2], quota, at=NOW
                )
                for number in range(40)
            )
        )
        assert answers.count(0) == 15
        used = await sizes(index)
        assert sum(used.values()) == 150
        assert max(used.values()) <= 100
        await self.verify(index)

    async def test_a_storm_of_fills_and_evictions_stays_below_the_quota(
        self, index: CacheIndex
    ) -> None:
        """CA-04"""
        quota = Quota(upstream=300, total=400)
        pinned = [digest(f"{number}") for number in range(3)]
        await index.upkeep.pin(pinned, True)

        async def client(seed: int) -> None:
            rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
            for _ in range(STEPS):
                await pull(index, rng, quota)
                used = await sizes(index)
                assert sum(used.values()) <= 400
                assert max(used.values(), default=0) <= 300

        await asyncio.gather(*map(client, range(TASKS)))
        assert await index.contents.unfinished() == []
        await self.verify(index)


async def pull(index: CacheIndex, rng: random.Random, quota: Quota) -> None:
    """Do what a cache does when a client asks: use what is there, or make room and fill it."""
    number = rng.randrange(60)
    one, upstream = digest(f"{number}"), (HUB, QUAY)[number % 2]
    at = NOW + rng.random()
    known = await index.contents.find(one)
    if known is not None:
        if known.state == "stored":
            await index.upkeep.touch({one: (1, at)}, OLDEST_FIRST)
        return
    for scope in (upstream, None):
        lacking = await index.contents.reserve(one, 5 + number, upstream, quota, at=at)
        if not lacking:
            await asyncio.sleep(0)  # here its bytes would arrive
            if rng.random() < 0.1:
                await index.contents.forget(one, state="filling")
            else:
                await index.contents.stored(one, f"stamp {number}", OLDEST_FIRST, at=at)
            return
        for victim in await index.contents.choose(OLDEST_FIRST, scope, lacking, 0, at=at):
            assert (victim.state, victim.pinned) == ("evicting", False)
            await index.contents.forget(victim.digest, state="evicting")
