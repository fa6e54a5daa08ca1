"""What a cache index promises about eviction: it does what the policy says, and only to what may
go."""

from collections.abc import Sequence

import pytest

from entrepot.oci.digest import Digest
from entrepot.ports.cache_index import OVERDUE_AT_ONCE, CacheIndex, Usage
from entrepot.rules.eviction import Policy
from entrepot.testing.cache_index_examples import (
    HUB,
    NOW,
    OLDEST_FIRST,
    PERISHABLE,
    QUAY,
    SECOND_CHANCE,
    digest,
    fill,
    found,
    store,
    verify_sums,
)

POLICIES: Sequence[Policy] = (OLDEST_FIRST, SECOND_CHANCE)
EACH_POLICY = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)


async def chosen(
    index: CacheIndex,
    size: int,
    *,
    policy: Policy = OLDEST_FIRST,
    upstream: str | None = None,
    capacity: int = 0,
) -> list[Digest]:
    """Choose content and return its digests."""
    contents = await index.contents.choose(policy, upstream, size, capacity, at=NOW + 1000)
    assert all(content.state == "evicting" for content in contents)
    return [content.digest for content in contents]


class EvictionsSuite:
    async def test_enough_goes_and_no_more(self, index: CacheIndex) -> None:
        """CA-03"""
        for turn in range(5):
            await store(index, f"{turn}", 10, at=NOW + turn)
        assert await chosen(index, 0) == []
        assert await chosen(index, 10) == [digest("0")]
        assert await chosen(index, 11) == [digest("1"), digest("2")]
        assert await chosen(index, 1000) == [digest("3"), digest("4")]
        assert await chosen(index, 1) == []

    async def test_what_was_used_goes_later(self, index: CacheIndex) -> None:
        """CA-03"""
        for turn in range(3):
            await store(index, f"{turn}", 10, at=NOW + turn)
        await index.upkeep.touch({digest("0"): (1, NOW + 10)}, OLDEST_FIRST)
        assert await chosen(index, 30) == [digest("1"), digest("2"), digest("0")]

    async def test_among_equals_the_first_goes_first(self, index: CacheIndex) -> None:
        for name in ("c", "a", "b"):
            await store(index, name)
        assert await chosen(index, 30) == [digest("c"), digest("a"), digest("b")]

    async def test_one_upstream_makes_room_of_its_own(self, index: CacheIndex) -> None:
        for turn, upstream in enumerate((QUAY, HUB, QUAY, HUB)):
            await store(index, f"{turn}", 10, upstream=upstream, at=NOW + turn)
        assert await chosen(index, 15, upstream=HUB) == [digest("1"), digest("3")]
        assert await chosen(index, 15) == [digest("0"), digest("2")]

    @EACH_POLICY
    async def test_what_is_pinned_filling_or_going_stays(
        self, index: CacheIndex, policy: Policy
    ) -> None:
        for name in ("pinned", "pinned before", "going", "free"):
            if name == "pinned before":
                await index.upkeep.pin([digest(name)], True)
            await store(index, name, policy=policy)
        await index.upkeep.pin([digest("pinned")], True)
        await index.contents.take(digest("going"))
        await fill(index, "filling", 10)
        assert await chosen(index, 1000, policy=policy, capacity=100) == [digest("free")]
        await index.upkeep.pin([digest("pinned"), digest("pinned before")], False)
        freed = await chosen(index, 1000, policy=policy, capacity=100)
        assert set(freed) == {digest("pinned"), digest("pinned before")}
        await verify_sums(index)

    @EACH_POLICY
    async def test_evictions_are_counted_and_room_given_back_later(
        self, index: CacheIndex, policy: Policy
    ) -> None:
        """PX-08"""
        for turn in range(3):
            await store(index, f"{turn}", 10, policy=policy)
        await store(index, "elsewhere", 10, upstream=QUAY, policy=policy)
        gone = await chosen(index, 20, policy=policy, upstream=HUB, capacity=30)
        assert (await index.upkeep.usage())[HUB] == Usage(
            size=30, items=3, evictions=2, evicted_bytes=20
        )
        for one in gone:
            await index.contents.forget(one)
        assert await index.upkeep.usage() == {
            HUB: Usage(size=10, items=1, evictions=2, evicted_bytes=20),
            QUAY: Usage(size=10, items=1),
        }

    async def test_moves_between_queues_are_kept(self, index: CacheIndex) -> None:
        for size in (1, 2, 3):
            await store(index, f"{size}", size, policy=SECOND_CHANCE)
        await index.upkeep.touch({digest("1"): (1, NOW)}, SECOND_CHANCE)
        await index.upkeep.touch({digest("2"): (1, NOW)}, SECOND_CHANCE)
        # The ranks are 2, 3 and 3: two were used and move to the back, the third has to go.
        assert await chosen(index, 1, policy=SECOND_CHANCE, capacity=6) == [digest("3")]
        assert await chosen(index, 1, policy=SECOND_CHANCE, capacity=6) == [digest("1")]

    async def test_who_comes_back_is_remembered_once(self, index: CacheIndex) -> None:
        await store(index, "9", 9, policy=SECOND_CHANCE)
        assert await chosen(index, 9, policy=SECOND_CHANCE) == [digest("9")]
        await index.contents.forget(digest("9"))
        await store(index, "9", 9, policy=SECOND_CHANCE)  # to the back: it is remembered
        await store(index, "20", 20, policy=SECOND_CHANCE)
        assert await chosen(index, 1, policy=SECOND_CHANCE, capacity=10) == [digest("20")]
        assert await chosen(index, 1, policy=SECOND_CHANCE, capacity=10) == [digest("9")]
        for name, size in (("9", 9), ("30", 30)):
            await index.contents.forget(digest(name))
            await store(index, name, size, policy=SECOND_CHANCE)  # to the front, both
        assert await chosen(index, 1, policy=SECOND_CHANCE, capacity=10) == [digest("9")]

    async def test_inflation_is_of_the_shelf_and_of_all(self, index: CacheIndex) -> None:
        await store(index, "50", 50, upstream=HUB, policy=SECOND_CHANCE)
        await chosen(index, 1, policy=SECOND_CHANCE, upstream=HUB)  # the inflation is 50 for HUB
        await store(index, "hub 5", 5, upstream=HUB, policy=SECOND_CHANCE)  # rank 55
        await store(index, "quay 9", 9, upstream=QUAY, policy=SECOND_CHANCE)  # rank 9
        assert await chosen(index, 1, policy=SECOND_CHANCE) == [digest("quay 9")]
        await store(index, "quay 47", 47, upstream=QUAY, policy=SECOND_CHANCE)  # 9 + 47 = 56
        assert await chosen(index, 1, policy=SECOND_CHANCE) == [digest("hub 5")]  # now 55 for all
        await store(index, "quay 2", 2, upstream=QUAY, policy=SECOND_CHANCE)  # 55 + 2 = 57
        freed = await chosen(index, 49, policy=SECOND_CHANCE)
        assert freed == [digest("quay 47"), digest("quay 2")]

    async def test_what_is_overdue_goes_also_if_there_is_room(self, index: CacheIndex) -> None:
        for turn, name in enumerate(("old", "pinned", "used", "new")):
            await store(index, name, 10, at=NOW + 250 * turn)
        await fill(index, "filling", 10)
        await index.upkeep.pin([digest("pinned")], True)
        await index.upkeep.touch({digest("used"): (1, NOW + 990)}, OLDEST_FIRST)
        assert await chosen(index, 0, policy=PERISHABLE) == [digest("old"), digest("new")]
        assert await chosen(index, 0, policy=PERISHABLE) == []

    async def test_what_is_overdue_makes_room_too(self, index: CacheIndex) -> None:
        for turn, name in enumerate(("old", "new", "newer")):
            await store(index, name, 10, at=NOW + 940 * bool(turn) + turn)
        assert await chosen(index, 11, policy=PERISHABLE) == [digest("old"), digest("new")]

    async def test_not_all_that_is_overdue_goes_at_once(self, index: CacheIndex) -> None:
        for number in range(OVERDUE_AT_ONCE + 1):
            await store(index, f"{number}", 1)
        assert len(await chosen(index, 0, policy=PERISHABLE)) == OVERDUE_AT_ONCE
        assert len(await chosen(index, 0, policy=PERISHABLE)) == 1

    async def test_another_policy_takes_over_what_is_there(self, index: CacheIndex) -> None:
        for turn, name in enumerate(("used", "old", "new")):
            await store(index, name, 10 + turn, at=NOW + turn, policy=SECOND_CHANCE)
        await index.upkeep.touch({digest("used"): (1, NOW + 50)}, SECOND_CHANCE)
        await index.upkeep.touch({digest("new"): (1, NOW + 60)}, OLDEST_FIRST)  # not its shelf yet
        freed = await chosen(index, 1000, policy=OLDEST_FIRST)
        assert freed == [digest("old"), digest("used"), digest("new")]

    async def test_what_is_evicted_can_be_fetched_again(self, index: CacheIndex) -> None:
        await store(index, "layer", 10)
        await chosen(index, 1)
        again = await store(index, "layer", 10, at=NOW + 5)
        assert (again.state, again.stored_at) == ("stored", NOW + 5)
        assert (await found(index, "layer")) == again
        assert await chosen(index, 1) == [digest("layer")]
        await verify_sums(index)
