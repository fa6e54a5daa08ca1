"""The eviction policies that an operator can choose (`cache.policy`), behind `eviction.Policy`.

    lru      used longest ago goes first
    lfu      used least often goes first, and longest ago among equals; old fame fades
    gdsf     large and seldom used goes first; old fame fades
    s3-fifo  what was used once passes through a small queue, what was used again stays
    ttl      stored longest ago goes first; what is older than its time goes in any case

Fame fades by inflation: what is evicted leaves its rank as the level from which everything used
later starts, so what was popular once and is not used any more is overtaken in the end.
"""

from dataclasses import dataclass
from math import floor, inf, nextafter
from typing import ClassVar, Final, Literal

from entrepot.rules.eviction import Entry, Evict, Move, Placement, Policy, Shelf

PolicyName = Literal["lru", "lfu", "gdsf", "s3-fifo", "ttl"]

MAIN: Final = "main"
SMALL: Final = "small"

_MIB: Final = 1024 * 1024


def policy_named(name: PolicyName, content_ttl: float) -> Policy:
    """Return the policy of that name; `content_ttl` is for `ttl`, in seconds."""
    match name:
        case "lru":
            return LeastRecentlyUsed()
        case "lfu":
            return LeastFrequentlyUsed()
        case "gdsf":
            return GreedyDualSizeFrequency()
        case "s3-fifo":
            return SmallAndMainQueues()
        case "ttl":
            return TimeToLive(content_ttl)


class _OneQueue:
    """What all policies with a single queue share: the first of it goes."""

    __slots__ = ()

    def decide(self, shelf: Shelf, now: float, capacity: int) -> Evict | Move | None:
        first = shelf.first(MAIN)
        return None if first is None else Evict(first)

    def overdue(self, shelf: Shelf, now: float) -> Evict | None:
        return None


@dataclass(frozen=True, slots=True)
class LeastRecentlyUsed(_OneQueue):
    """LRU. The rank is the time of the last use."""

    name: ClassVar[str] = "lru"

    def place(
        self, size: int, now: float, *, inflation: float = 0.0, remembered: bool = False
    ) -> Placement:
        return Placement(MAIN, now, 0)

    def hit(self, entry: Entry, now: float, *, count: int = 1, inflation: float = 0.0) -> Placement:
        # Uses are noted in batches: one that comes late must not make the entry older.
        before = entry.placement
        return Placement(MAIN, max(before.rank, now), before.uses + count)


@dataclass(frozen=True, slots=True)
class LeastFrequentlyUsed(_OneQueue):
    """LFU with dynamic aging (LFU-DA). The rank is the inflation plus the uses; the time of the
    last use is its fraction, so that among equals the one used longest ago goes."""

    name: ClassVar[str] = "lfu"

    ERA: ClassVar[float] = 2.0**36
    """Seconds that become 1: more than any Unix time for 2,000 years, and so little that up to
    2^16 uses the fraction still tells one second from the next."""

    def place(
        self, size: int, now: float, *, inflation: float = 0.0, remembered: bool = False
    ) -> Placement:
        return Placement(MAIN, floor(inflation) + 1 + now / self.ERA, 1)

    def hit(self, entry: Entry, now: float, *, count: int = 1, inflation: float = 0.0) -> Placement:
        uses = entry.placement.uses + count
        return Placement(MAIN, floor(inflation) + uses + now / self.ERA, uses)

    def decide(self, shelf: Shelf, now: float, capacity: int) -> Evict | Move | None:
        return _inflated(shelf)


@dataclass(frozen=True, slots=True)
class GreedyDualSizeFrequency(_OneQueue):
    """GDSF. The rank is the inflation plus uses per MiB: small content is kept for the many
    requests it answers, large content goes unless it is used much."""

    name: ClassVar[str] = "gdsf"

    def place(
        self, size: int, now: float, *, inflation: float = 0.0, remembered: bool = False
    ) -> Placement:
        return Placement(MAIN, inflation + _MIB / max(size, 1), 1)

    def hit(self, entry: Entry, now: float, *, count: int = 1, inflation: float = 0.0) -> Placement:
        uses = entry.placement.uses + count
        return Placement(MAIN, inflation + uses * _MIB / max(entry.size, 1), uses)

    def decide(self, shelf: Shelf, now: float, capacity: int) -> Evict | Move | None:
        return _inflated(shelf)


@dataclass(frozen=True, slots=True)
class SmallAndMainQueues:
    """S3-FIFO: two queues, each in the order of arrival, and a memory of keys.

    New content passes through the small queue. Who was used there moves on to the main queue, who
    was not is evicted and remembered; who comes back while it is remembered goes to the main
    queue at once. In the main queue, every use (up to MOST) buys another round.

    Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.
    """

    name: ClassVar[str] = "s3-fifo"

    SHARE: ClassVar[float] = 0.1
    """The part of the capacity that the small queue may fill before it is looked at first."""

    NEEDED: ClassVar[int] = 1
    """Uses in the small queue after which content moves on. The paper wants two; on traces of
    image pulls one finds more (`bench/eviction.py`), for a pull asks for a layer once only."""

    MOST: ClassVar[int] = 3
    """Uses that are counted."""

    def place(
        self, size: int, now: float, *, inflation: float = 0.0, remembered: bool = False
    ) -> Placement:
        return Placement(MAIN if remembered else SMALL, now, 0)

    def hit(self, entry: Entry, now: float, *, count: int = 1, inflation: float = 0.0) -> Placement:
        before = entry.placement
        return Placement(before.queue, before.rank, min(self.MOST, before.uses + count))

    def decide(self, shelf: Shelf, now: float, capacity: int) -> Evict | Move | None:
        small, main = shelf.first(SMALL), shelf.first(MAIN)
        if small and (main is None or shelf.filled(SMALL) >= capacity * self.SHARE):
            if small.placement.uses >= self.NEEDED:
                return Move(small, Placement(MAIN, now, 0))
            return Evict(small, remember=True)
        if main is None:
            return None
        uses = main.placement.uses
        return Move(main, _behind(main, now, uses - 1)) if uses else Evict(main)

    def overdue(self, shelf: Shelf, now: float) -> Evict | None:
        return None


@dataclass(frozen=True, slots=True)
class TimeToLive(_OneQueue):
    """TTL. The rank is the time at which content was stored; uses change nothing. `content_ttl`
    is in seconds."""

    content_ttl: float
    name: ClassVar[str] = "ttl"

    def place(
        self, size: int, now: float, *, inflation: float = 0.0, remembered: bool = False
    ) -> Placement:
        return Placement(MAIN, now, 0)

    def hit(self, entry: Entry, now: float, *, count: int = 1, inflation: float = 0.0) -> Placement:
        before = entry.placement
        return Placement(MAIN, before.rank, before.uses + count)

    def overdue(self, shelf: Shelf, now: float) -> Evict | None:
        first = shelf.first(MAIN)
        if first is None or now - first.placement.rank < self.content_ttl:
            return None
        return Evict(first)


def _inflated(shelf: Shelf) -> Evict | None:
    first = shelf.first(MAIN)
    return None if first is None else Evict(first, inflation=first.placement.rank)


def _behind(entry: Entry, now: float, uses: int) -> Placement:
    """Return a place at the queue's end; behind its own place also where `now` stands still, or
    the first would be moved until all its uses are spent, and others not at all."""
    return Placement(MAIN, max(now, nextafter(entry.placement.rank, inf)), uses)
