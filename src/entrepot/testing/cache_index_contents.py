"""What a cache index promises about content: room, states, sums, uses and pins."""

from dataclasses import replace

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import StoreFull
from entrepot.ports.cache_index import CachedContent, CacheIndex, Quota, Usage
from entrepot.testing.cache_index_examples import (
    HUB,
    NOW,
    OLDEST_FIRST,
    QUAY,
    digest,
    fill,
    found,
    sizes,
    store,
    verify_sums,
)


class CachedContentsSuite:
    async def test_content_is_filling_and_then_stored(self, index: CacheIndex) -> None:
        await fill(index, "layer", 70)
        filling = CachedContent(digest("layer"), 70, "filling", HUB)
        assert await found(index, "layer") == filling
        assert await index.contents.unfinished() == [filling]
        await index.contents.stored(digest("layer"), "stamp", OLDEST_FIRST, at=NOW + 1)
        assert await found(index, "layer") == replace(
            filling,
            state="stored",
            stamp="stamp",
            stored_at=NOW + 1,
            used_at=NOW + 1,
            verified_at=NOW + 1,
        )
        assert await index.contents.unfinished() == []

    async def test_room_counts_from_before_the_first_byte(self, index: CacheIndex) -> None:
        await fill(index, "one", 70)
        await fill(index, "two", 30, upstream=QUAY)
        assert await sizes(index) == {HUB: 70, QUAY: 30}
        await index.contents.stored(digest("one"), "", OLDEST_FIRST, at=NOW)
        assert await sizes(index) == {HUB: 70, QUAY: 30}
        assert await index.contents.take(digest("one"))
        assert await sizes(index) == {HUB: 70, QUAY: 30}
        await index.contents.forget(digest("one"))
        assert await sizes(index) == {QUAY: 30}

    @pytest.mark.parametrize(
        ("quota", "lacking"),
        [
            (Quota(), 0),
            (Quota(total=200), 0),
            (Quota(total=150), 20),
            (Quota(upstream=110), 0),
            (Quota(upstream=100), 10),
            (Quota(upstream=100, total=150), 20),
            (Quota(upstream=80, total=200), 30),
        ],
    )
    async def test_what_lacks_is_told_and_nothing_reserved(
        self, index: CacheIndex, quota: Quota, lacking: int
    ) -> None:
        """CA-03"""
        await store(index, "there", 60)
        await store(index, "elsewhere", 60, upstream=QUAY)
        new = digest("new")
        assert await index.contents.reserve(new, 50, HUB, quota, at=NOW) == lacking
        assert (await index.contents.find(new) is None) == (lacking > 0)
        await verify_sums(index)

    @pytest.mark.parametrize("quota", [Quota(upstream=99), Quota(total=99), Quota(500, 99)])
    async def test_what_is_larger_than_the_quota_never_fits(
        self, index: CacheIndex, quota: Quota
    ) -> None:
        with pytest.raises(StoreFull, match="99"):
            await index.contents.reserve(digest("new"), 100, HUB, quota, at=NOW)
        assert await index.contents.find(digest("new")) is None

    async def test_no_size_that_an_upstream_tells_breaks_the_sums(self, index: CacheIndex) -> None:
        with pytest.raises(StoreFull):
            await index.contents.reserve(digest("lie"), 2**63 - 1, HUB, Quota(), at=NOW)
        await fill(index, "huge", 2**60)
        assert await index.contents.reserve(digest("more"), 7, QUAY, Quota(), at=NOW) == 7
        assert await sizes(index) == {HUB: 2**60}

    async def test_what_is_stored_needs_no_room_and_stays_as_it_is(self, index: CacheIndex) -> None:
        known = await store(index, "layer", 70)
        quota = Quota(upstream=10, total=10)
        assert await index.contents.reserve(known.digest, 70, QUAY, quota, at=NOW) == 0
        assert await found(index, "layer") == known

    @pytest.mark.parametrize("state", ["filling", "evicting"])
    async def test_what_is_on_its_way_is_charged_to_who_comes_last(
        self, index: CacheIndex, state: str
    ) -> None:
        await fill(index, "layer", 70)
        if state == "evicting":
            await index.contents.stored(digest("layer"), "stamp", OLDEST_FIRST, at=NOW)
            await index.contents.take(digest("layer"))
        quota = Quota(upstream=10, total=10)
        assert await index.contents.reserve(digest("layer"), 70, QUAY, quota, at=NOW) == 0
        assert (await found(index, "layer")).state == "filling"
        assert (await found(index, "layer")).stamp == ""
        assert await sizes(index) == {QUAY: 70}
        await verify_sums(index)

    async def test_what_turns_out_larger_needs_room_for_the_rest(self, index: CacheIndex) -> None:
        await fill(index, "layer", 70)
        layer, quota = digest("layer"), Quota(upstream=100)
        assert await index.contents.reserve(layer, 90, HUB, quota, at=NOW) == 0
        assert await sizes(index) == {HUB: 90}
        await fill(index, "other", 10)
        assert await index.contents.reserve(layer, 95, HUB, quota, at=NOW) == 5
        assert await index.contents.reserve(layer, 20, HUB, quota, at=NOW) == 0
        assert await sizes(index) == {HUB: 30}
        with pytest.raises(StoreFull):
            await index.contents.reserve(layer, 101, HUB, quota, at=NOW)

    async def test_stored_twice_keeps_its_place(self, index: CacheIndex) -> None:
        for name in ("first", "second"):
            await store(index, name)
        await index.contents.stored(digest("first"), "new stamp", OLDEST_FIRST, at=NOW + 9)
        known = await found(index, "first")
        assert (known.stamp, known.stored_at, known.verified_at) == ("new stamp", NOW, NOW + 9)
        chosen = await index.contents.choose(OLDEST_FIRST, None, 1, 0, at=NOW + 9)
        assert [one.digest for one in chosen] == [digest("first")]

    async def test_what_is_going_or_gone_is_not_stored_by_saying_so(
        self, index: CacheIndex
    ) -> None:
        await store(index, "going")
        await index.contents.take(digest("going"))
        for name in ("going", "gone"):
            await index.contents.stored(digest(name), "stamp", OLDEST_FIRST, at=NOW)
        assert (await found(index, "going")).state == "evicting"
        assert await index.contents.find(digest("gone")) is None

    async def test_only_stored_content_can_be_taken(self, index: CacheIndex) -> None:
        await store(index, "stored")
        await fill(index, "filling", 10)
        taken = [
            await index.contents.take(digest(name))
            for name in ("stored", "stored", "filling", "unknown")
        ]
        assert taken == [True, False, False, False]
        assert (await index.upkeep.usage())[HUB].evictions == 0
        states = {one.digest: one.state for one in await index.contents.unfinished()}
        assert states == {digest("stored"): "evicting", digest("filling"): "filling"}

    async def test_the_unknown_is_forgotten_without_error(self, index: CacheIndex) -> None:
        await index.contents.forget(digest("unknown"))
        await index.contents.forget(digest("unknown"), state="evicting")

    async def test_content_that_has_vanished_is_forgotten_at_once(self, index: CacheIndex) -> None:
        await store(index, "vanished", 70)
        await store(index, "there", 30)
        await index.contents.forget(digest("vanished"))
        assert await sizes(index) == {HUB: 30}
        gone = await index.contents.choose(OLDEST_FIRST, None, 100, 0, at=NOW)
        assert [one.digest for one in gone] == [digest("there")]

    async def test_content_is_forgotten_only_in_the_state_that_was_meant(
        self, index: CacheIndex
    ) -> None:
        """Who evicts may be late: meanwhile another process fetches the same again."""
        await store(index, "layer")
        await index.contents.take(digest("layer"))
        await fill(index, "layer", 10)
        await index.contents.forget(digest("layer"), state="evicting")
        assert (await found(index, "layer")).state == "filling"
        await index.contents.forget(digest("layer"), state="filling")
        assert await index.contents.find(digest("layer")) is None
        assert await sizes(index) == {}


class CacheUpkeepSuite:
    async def test_uses_add_up(self, index: CacheIndex) -> None:
        await store(index, "one")
        await store(index, "two")
        uses = {digest("one"): (2, NOW + 5), digest("unknown"): (1, NOW)}
        await index.upkeep.touch(uses, OLDEST_FIRST)
        await index.upkeep.touch({digest("one"): (1, NOW + 3)}, OLDEST_FIRST)  # told late
        one, two = await found(index, "one"), await found(index, "two")
        assert (one.uses, one.used_at) == (3, NOW + 5)
        assert (two.uses, two.used_at) == (0, NOW)

    async def test_uses_while_it_fills_are_kept(self, index: CacheIndex) -> None:
        await fill(index, "layer", 10)
        await index.upkeep.touch({digest("layer"): (2, NOW + 5)}, OLDEST_FIRST)
        await index.contents.stored(digest("layer"), "stamp", OLDEST_FIRST, at=NOW + 3)
        known = await found(index, "layer")
        assert (known.uses, known.used_at, known.stored_at) == (2, NOW + 5, NOW + 3)

    async def test_only_what_is_stored_can_be_verified(self, index: CacheIndex) -> None:
        await store(index, "stored")
        await fill(index, "filling", 10)
        for name in ("stored", "filling", "unknown"):
            await index.upkeep.verified(digest(name), "new stamp", at=NOW + 5)
        known = await found(index, "stored")
        assert (known.stamp, known.verified_at) == ("new stamp", NOW + 5)
        assert (await found(index, "filling")).verified_at == 0

    async def test_what_was_stored_lately_can_be_distrusted(self, index: CacheIndex) -> None:
        for number, name in enumerate(("a", "b", "c")):
            await fill(index, name, 10)
            await index.contents.stored(digest(name), "stamp", OLDEST_FIRST, at=NOW + 100 * number)
        await fill(index, "filling", 10)
        await index.upkeep.touch({digest("a"): (1, NOW + 300)}, OLDEST_FIRST)
        assert await index.upkeep.distrust(150) == 1
        stamps = [(await found(index, name)).stamp for name in ("a", "b", "c")]
        assert stamps == ["stamp", "stamp", ""]
        assert await index.upkeep.distrust(250) == 1
        assert await index.upkeep.distrust(10_000) == 1

    async def test_what_lies_in_the_future_is_set_back(self, index: CacheIndex) -> None:
        """CA-01: a clock that went back keeps nothing on the shelf for ever."""
        await store(index, "later", at=NOW + 100)
        await store(index, "now", at=NOW)
        await index.upkeep.touch({digest("now"): (1, NOW)}, OLDEST_FIRST)
        assert await index.upkeep.set_back(NOW + 5) == 1
        assert await index.upkeep.set_back(NOW + 5) == 0
        known = await found(index, "later")
        assert (known.stored_at, known.used_at, known.verified_at) == (NOW + 5,) * 3
        assert (await found(index, "now")).stored_at == NOW
        await index.upkeep.touch({digest("now"): (1, NOW + 50)}, OLDEST_FIRST)
        (chosen,) = await index.contents.choose(OLDEST_FIRST, None, 1, 100, at=NOW + 60)
        assert chosen.digest == digest("later")

    async def test_what_was_verified_longest_ago_comes_first(self, index: CacheIndex) -> None:
        """CA-08"""
        for turn, name in enumerate(("a", "b", "c", "d")):
            await store(index, name, at=NOW + turn)
        await index.upkeep.verified(digest("a"), "", at=NOW + 9)
        await fill(index, "filling", 10)
        due = await index.upkeep.oldest_verified(10, NOW + 3)
        assert [one.digest for one in due] == [digest("b"), digest("c")]
        assert await index.upkeep.oldest_verified(1, NOW + 3) == due[:1]
        assert len(await index.upkeep.oldest_verified(10, NOW + 10)) == 4

    async def test_pins_are_kept_also_for_what_is_not_there(self, index: CacheIndex) -> None:
        await store(index, "there")
        both = [digest("there"), digest("later")]
        assert await index.upkeep.pin(both, True) == 2
        assert await index.upkeep.pin(both, True) == 0
        assert await index.contents.find(digest("later")) is None
        await fill(index, "later", 10)
        assert (await found(index, "there")).pinned
        assert (await found(index, "later")).pinned
        await index.contents.forget(digest("later"))
        await fill(index, "later", 10)
        assert (await found(index, "later")).pinned
        assert await index.upkeep.pin([digest("later"), digest("never")], False) == 1
        assert not (await found(index, "later")).pinned

    async def test_counters_add_up_beside_the_sums(self, index: CacheIndex) -> None:
        """PX-08"""
        await store(index, "layer", 70)
        await index.upkeep.count(HUB, Usage(hits=2, misses=1, served_bytes=100))
        await index.upkeep.count(HUB, Usage(hits=3, stale=1, coalesced=4, fetched_bytes=70))
        await index.upkeep.count(QUAY, Usage(size=5, items=5))
        usage = Usage(
            size=70,
            items=1,
            hits=5,
            misses=1,
            stale=1,
            coalesced=4,
            served_bytes=100,
            fetched_bytes=70,
        )
        assert await index.upkeep.usage() == {HUB: usage}

    async def test_content_comes_in_the_order_of_digests(self, index: CacheIndex) -> None:
        long = Digest.of(b"long", "sha512")
        for number in range(7):
            await store(index, f"layer {number}", upstream=(HUB, QUAY)[number % 2])
        assert await index.contents.reserve(long, 1, HUB, Quota(), at=NOW) == 0
        everything = sorted([long, *(digest(f"layer {number}") for number in range(7))])
        listed = [one.digest for one in await index.upkeep.contents(limit=10)]
        assert listed == everything
        page = await index.upkeep.contents(after=everything[1], limit=3)
        assert [one.digest for one in page] == everything[2:5]
        own = sorted([long, *(digest(f"layer {number}") for number in range(0, 7, 2))])
        page = await index.upkeep.contents(HUB, after=own[0], limit=3)
        assert [one.digest for one in page] == own[1:4]
        assert await index.upkeep.contents("nowhere", limit=3) == []
