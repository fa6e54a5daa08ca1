"""The cache index on SQLite does what the fake does, whatever is asked in whatever order."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from entrepot.adapters.cache_indexes.sqlite import SqliteCacheIndex
from entrepot.oci.errors import StoreFull
from entrepot.oci.reference import Tag
from entrepot.ports.cache_index import CacheEvent, CacheIndex, Quota, Usage
from entrepot.rules.eviction import Policy
from entrepot.rules.eviction_policies import (
    GreedyDualSizeFrequency,
    LeastFrequentlyUsed,
    SmallAndMainQueues,
)
from entrepot.testing import MemoryCacheIndex
from entrepot.testing.cache_index_examples import (
    ALPINE,
    BUSYBOX,
    HUB,
    OLDEST_FIRST,
    PERISHABLE,
    QUAY,
    SECOND_CHANCE,
    digest,
    manifest,
    verify_sums,
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One call; a failure shows its arguments."""

    name: str
    arguments: tuple[Any, ...]
    call: Callable[..., Awaitable[object]] = field(repr=False)


NAMES: Final = tuple("abcde")
HOMES: Final = (ALPINE, BUSYBOX)
TAGS: Final = tuple(map(Tag, ("latest", "3")))

POLICIES: Final[tuple[Policy, ...]] = (
    OLDEST_FIRST,
    SECOND_CHANCE,
    PERISHABLE,
    LeastFrequentlyUsed(),
    GreedyDualSizeFrequency(),
    SmallAndMainQueues(),
)

names = st.sampled_from(NAMES)
digests = names.map(digest)
homes = st.sampled_from(HOMES)
tags = st.sampled_from(TAGS)
upstreams = st.sampled_from((HUB, QUAY))
scopes = st.none() | upstreams
sizes = st.integers(0, 12)
times = st.integers(0, 200).map(float)
limits = st.none() | st.integers(5, 60)
quotas = st.builds(Quota, limits, limits)
states = st.sampled_from((None, "filling", "stored", "evicting"))
usages = st.builds(Usage, *[st.integers(0, 3)] * 10)
uses = st.dictionaries(digests, st.tuples(st.integers(1, 3), times), max_size=3)


def operation(
    name: str, call: Callable[..., Awaitable[object]], *arguments: st.SearchStrategy[Any]
) -> st.SearchStrategy[Operation]:
    """Return a strategy of `call(index, *arguments)`."""
    return st.tuples(*arguments).map(lambda values: Operation(name, values, call))


NAMING: Final = [
    operation("set_tag", lambda i, *a: i.names.set_tag(*a[:2], manifest(a[2]), at=a[3]),
              homes, tags, names, times),
    operation("link manifest", lambda i, home, name, size, at: i.names.link(
        home, manifests=[manifest(name, size)], at=at), homes, names, sizes, times),
    operation("link blob", lambda i, home, one, size, at: i.names.link(
        home, blobs=[(one, size)], at=at), homes, digests, sizes, times),
    operation("set_absent", lambda i, *a: i.names.set_absent(*a),
              homes, tags | digests.map(str), times),
    operation("purge", lambda i, *a: i.catalog.purge(*a), homes, st.none() | tags | digests),
    operation("forget_unused", lambda i, *a: i.catalog.forget_unused(*a),
              st.lists(homes, max_size=2, unique=True), times),
    operation("record", lambda i, at: i.catalog.record(CacheEvent("k", "r", "x", "d", at)), times),
]  # fmt: skip


async def store(index: CacheIndex, name: str, size: int, upstream: str, *last: Any) -> None:
    """Reserve and store in one step, so that examples need not find both by chance."""
    policy, at = last
    assert await index.contents.reserve(digest(name), size, upstream, Quota(), at=at) == 0
    await index.contents.stored(digest(name), name, policy, at=at)


def on_content(policy: Policy) -> st.SearchStrategy[Operation]:
    """Return a strategy of calls that mostly have the same policy, as a cache has one."""
    policies = st.sampled_from([policy] * 9 + list(POLICIES))
    stores = operation("store", store, names, sizes, upstreams, policies, times)
    touches = operation("touch", lambda i, *a: i.upkeep.touch(*a), uses, policies)
    chooses = operation(
        "choose",
        lambda i, *a: i.contents.choose(*a[:4], at=a[4]),
        policies,
        scopes,
        sizes,
        sizes,
        times,
    )
    return st.one_of(
        stores, stores, stores, touches, touches, chooses, chooses,
        operation("reserve", lambda i, *a: i.contents.reserve(*a[:4], at=a[4]),
                  digests, sizes, upstreams, quotas, times),
        operation("stored", lambda i, *a: i.contents.stored(*a[:3], at=a[3]),
                  digests, names, policies, times),
        operation("forget", lambda i, one, state: i.contents.forget(one, state=state),
                  digests, states),
        operation("take", lambda i, one: i.contents.take(one), digests),
        operation("verified", lambda i, *a: i.upkeep.verified(*a[:2], at=a[2]),
                  digests, names, times),
        operation("set_back", lambda i, at: i.upkeep.set_back(at), times),
        operation("pin", lambda i, *a: i.upkeep.pin(*a),
                  st.lists(digests, max_size=3, unique=True), st.booleans()),
        operation("count", lambda i, *a: i.upkeep.count(*a), upstreams, usages),
    )  # fmt: skip


async def outcome(index: CacheIndex, step: Operation) -> object:
    """Do a step; return its result, or the refusal it met."""
    try:
        return await step.call(index, *step.arguments)
    except StoreFull as error:
        return StoreFull, error.detail


async def observe(index: CacheIndex) -> list[object]:
    """Return all that can be read."""
    seen: list[object] = [
        await index.catalog.repositories(limit=1),
        await index.catalog.repositories(after=ALPINE, limit=9),
        await index.catalog.unlinked(3),
        await index.catalog.events(3),
        await index.contents.unfinished(),
        await index.upkeep.oldest_verified(3, 100.0),
        await index.upkeep.usage(),
        await index.upkeep.contents(limit=9),
        await index.upkeep.contents(HUB, after=digest("d"), limit=2),
        *[await index.contents.find(digest(name)) for name in NAMES],
    ]
    for home in HOMES:
        seen += [await index.catalog.tags(home), await index.catalog.links(home)]
        seen += [await index.names.tag(home, tag) for tag in TAGS]
        seen += [await index.names.absent(home, str(tag)) for tag in TAGS]
        seen += [await index.names.manifest(home, digest(name)) for name in NAMES]
        seen += [await index.names.blob(home, digest(name)) for name in NAMES]
        seen += [await index.names.absent(home, str(digest(name))) for name in NAMES]
    return seen


class Stopped:
    """A clock that stands still at 50: what was absent until before expires."""

    def now(self) -> float:
        return 50.0


async def drain(index: CacheIndex, policy: Policy) -> list[object]:
    """Evict everything bit by bit, which shows in what order it stood, then fetch some again,
    which shows what is remembered."""
    gone: list[object] = []
    for again in (True, False):
        while chosen := await index.contents.choose(policy, None, 1, 20, at=200.0):
            gone += chosen
            for one in chosen:
                await index.contents.forget(one.digest)
        for name in NAMES if again else ():
            await store(index, name, len(gone) % 7, HUB, policy, 200.0)
    return gone


async def compare(steps: list[Operation], policy: Policy = OLDEST_FIRST) -> None:
    with TemporaryDirectory() as folder:
        driver = await SqliteCacheIndex.open(Path(folder) / "index.db", clock=Stopped())
        try:
            fake = MemoryCacheIndex(now=Stopped().now)
            for step in steps:
                assert await outcome(driver, step) == await outcome(fake, step)
            assert await observe(driver) == await observe(fake)
            await verify_sums(driver)
            assert await drain(driver, policy) == await drain(fake, policy)
        finally:
            await driver.close()


policies_with_steps = st.sampled_from(POLICIES).flatmap(
    lambda policy: st.tuples(
        st.just(policy),
        st.lists(on_content(policy), min_size=20, max_size=60)
        | st.lists(on_content(policy) | st.one_of(*NAMING), max_size=40),
    )
)


@given(st.lists(st.one_of(*NAMING), max_size=30))
def test_names_are_those_of_the_fake(steps: list[Operation]) -> None:
    asyncio.run(compare(steps))


@given(policies_with_steps)
def test_content_is_that_of_the_fake(example: tuple[Policy, list[Operation]]) -> None:
    """CA-04"""
    policy, steps = example
    asyncio.run(compare(steps, policy))
