"""Purging a cache: names go, and with them what nothing leads to any more (CA-06)."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.media_types import OCI_MANIFEST
from entrepot.oci.reference import Tag
from entrepot.ports.mirror_books import NoBooks
from entrepot.rules.eviction_policies import policy_named
from entrepot.services.cache import Cache, Charge
from entrepot.services.cache_use import CacheUse
from entrepot.services.purging import Purged, Purging
from entrepot.testing.memory_cache_index import MemoryCacheIndex
from entrepot.testing.memory_content_store import MemoryContentStore

HUB, QUAY = "hub.test", "quay.test"
APP, OTHER = f"{HUB}/team/app", f"{QUAY}/team/app"


class Clock:
    def now(self) -> float:
        return 1_000.0


class NoSpools:
    """Spools of which nothing is left, and nobody to take turns with."""

    def turn(self, key: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def leftovers(self) -> Sequence[tuple[Digest, int, float]]:
        return ()


@pytest.fixture
def cache() -> Cache:
    """An empty cache in memory."""
    index, policy, books, clock = MemoryCacheIndex(), policy_named("lru", 0.0), NoBooks(), Clock()
    use = CacheUse(index.upkeep, policy, books, clock)
    content = MemoryContentStore()
    return Cache(content, NoSpools(), index, use, policy, None, books, clock)  # type: ignore[arg-type]


async def put(cache: Cache, content: bytes, *repositories: str, tag: str = "") -> Digest:
    """Store content, held by repositories; with a tag it is a manifest."""
    digest = Digest.of(content)
    await cache.put(digest, content, Charge(HUB))
    for repository in repositories:
        if tag:
            manifest = Descriptor(OCI_MANIFEST, digest, len(content))
            await cache.index.names.set_tag(repository, Tag(tag), manifest, at=1.0)
        else:
            blobs = [(digest, len(content))]
            await cache.index.names.link(repository, blobs=blobs, at=1.0)
    return digest


async def stored(cache: Cache) -> set[Digest]:
    return {one.digest for one in await cache.index.upkeep.contents(limit=100)}


async def test_a_tag_is_only_a_name(cache: Cache) -> None:
    manifest = await put(cache, b"manifest", APP, tag="1")
    assert await Purging(cache).purge(APP, Tag("1")) == Purged(names=1)
    assert await cache.index.names.tag(APP, Tag("1")) is None
    assert await stored(cache) == {manifest}
    assert await Purging(cache).purge(APP, Tag("1")) == Purged()


async def test_a_digest_goes_with_its_tags(cache: Cache) -> None:
    manifest = await put(cache, b"manifest", APP, tag="1")
    assert await Purging(cache).purge(APP, manifest) == Purged(2, 1, 8)
    assert await cache.index.catalog.tags(APP) == []


async def test_what_another_repository_holds_stays(cache: Cache) -> None:
    shared = await put(cache, b"shared", APP, OTHER)
    await put(cache, b"mine", APP)
    assert await Purging(cache).purge(APP) == Purged(2, 1, 4)
    assert await stored(cache) == {shared}
    assert await Purging(cache).purge_digest(shared) == Purged(1, 1, 6)


async def test_all_of_an_upstream_goes_and_nothing_else(cache: Cache) -> None:
    for name in ("a", "b"):
        await put(cache, name.encode(), f"{HUB}/{name}")
    # Names that begin alike are other upstreams.
    kept = [await put(cache, b"port", f"{HUB}:5000/a"), await put(cache, b"quay", OTHER)]
    assert await Purging(cache).purge_all(HUB) == Purged(2, 2, 2)
    assert await stored(cache) == set(kept)


async def test_many_repositories_are_all_found(cache: Cache) -> None:
    for number in range(250):
        await put(cache, b"shared", f"{HUB}/team/r{number}")
    assert len(await Purging(cache).repositories()) == 250
    assert len(await Purging(cache).repositories(HUB)) == 250
    assert await Purging(cache).repositories(QUAY) == []
    assert await Purging(cache).purge_all() == Purged(250, 1, 6)


async def test_what_is_pinned_stays_unless_pins_do_not_count(cache: Cache) -> None:
    digest = await put(cache, b"pinned", APP)
    await cache.index.upkeep.pin([digest], True)
    assert await Purging(cache).purge(APP) == Purged(1, kept=1)
    assert await stored(cache) == {digest}
    assert await Purging(cache).purge_all() == Purged(kept=1)
    assert await Purging(cache, pinned=True).purge_all() == Purged(0, 1, 6)
    assert await stored(cache) == set()
