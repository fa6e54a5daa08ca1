"""Small content for cache indexes, the shortest way to cache it, and two small policies."""

from collections.abc import Mapping
from typing import ClassVar, Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.ports.cache_index import CachedContent, CacheIndex, Quota
from entrepot.rules.eviction import Entry, Evict, Move, Placement, Policy, Shelf

NOW: Final = 1_700_000_000.0
HUB, QUAY = "docker.io", "quay.io"
ALPINE: Final = "docker.io/library/alpine"
BUSYBOX: Final = "docker.io/library/busybox"
MEDIA_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
UNLIMITED: Final = Quota()


class OldestFirst:
    """Used longest ago goes first."""

    name: ClassVar[str] = "oldest-first"

    def place(
        self, size: int, now: float, *, inflation: float = 0.0, remembered: bool = False
    ) -> Placement:
        return Placement("all", now, 0)

    def hit(self, entry: Entry, now: float, *, count: int = 1, inflation: float = 0.0) -> Placement:
        return Placement("all", now, entry.placement.uses + count)

    def decide(self, shelf: Shelf, now: float, capacity: int) -> Evict | Move | None:
        first = shelf.first("all")
        return None if first is None else Evict(first)

    def overdue(self, shelf: Shelf, now: float) -> Evict | None:
        return None


class SecondChance:
    """Of the front queue goes, remembered, what was not used; what was used moves to the back.

    It uses all that a policy can: two queues, moves, uses, memory and inflation.
    """

    name: ClassVar[str] = "second-chance"

    def place(
        self, size: int, now: float, *, inflation: float = 0.0, remembered: bool = False
    ) -> Placement:
        return Placement("back" if remembered else "front", inflation + size, 0)

    def hit(self, entry: Entry, now: float, *, count: int = 1, inflation: float = 0.0) -> Placement:
        before = entry.placement
        return Placement(before.queue, max(inflation, before.rank) + 1, before.uses + count)

    def decide(self, shelf: Shelf, now: float, capacity: int) -> Evict | Move | None:
        front, back = shelf.first("front"), shelf.first("back")
        if front and (back is None or shelf.filled("front") * 2 >= capacity):
            if front.placement.uses:
                return Move(front, Placement("back", front.placement.rank, 0))
            return Evict(front, remember=True, inflation=front.placement.rank)
        return None if back is None else Evict(back, inflation=back.placement.rank)

    def overdue(self, shelf: Shelf, now: float) -> Evict | None:
        return None


class Perishable(OldestFirst):
    """What was not used for a minute goes, also if there is room."""

    def overdue(self, shelf: Shelf, now: float) -> Evict | None:
        first = shelf.first("all")
        return Evict(first) if first and first.used_at < now - 60 else None


OLDEST_FIRST: Final = OldestFirst()
PERISHABLE: Final = Perishable()
SECOND_CHANCE: Final = SecondChance()


def digest(name: str) -> Digest:
    """Return the digest that stands for content called `name`."""
    return Digest.of(name.encode())


def manifest(name: str, size: int = 500) -> Descriptor:
    """Return the descriptor of a manifest called `name`."""
    return Descriptor(MEDIA_TYPE, digest(name), size)


async def fill(
    index: CacheIndex, name: str, size: int, *, upstream: str = HUB, quota: Quota = UNLIMITED
) -> None:
    """Reserve room that must be there."""
    assert await index.contents.reserve(digest(name), size, upstream, quota, at=NOW) == 0


async def store(
    index: CacheIndex,
    name: str,
    size: int = 10,
    *,
    upstream: str = HUB,
    at: float = NOW,
    policy: Policy = OLDEST_FIRST,
) -> CachedContent:
    """Store content."""
    await fill(index, name, size, upstream=upstream)
    await index.contents.stored(digest(name), f"stamp of {name}", policy, at=at)
    return await found(index, name)


async def found(index: CacheIndex, name: str) -> CachedContent:
    """Return content that must be known."""
    content = await index.contents.find(digest(name))
    assert content is not None
    return content


async def sizes(index: CacheIndex) -> Mapping[str, int]:
    """Return the bytes that each upstream takes, as the sums say."""
    return {name: usage.size for name, usage in (await index.upkeep.usage()).items() if usage.size}


async def verify_sums(index: CacheIndex) -> None:
    """Add up all content anew and compare with the sums."""
    counted: dict[str, tuple[int, int]] = {}
    for content in await index.upkeep.contents(limit=1_000_000):
        size, items = counted.get(content.upstream, (0, 0))
        counted[content.upstream] = size + content.size, items + 1
    usage = await index.upkeep.usage()
    assert {name: (one.size, one.items) for name, one in usage.items() if one.items} == counted
    assert all(one.size == 0 for one in usage.values() if one.items == 0)
