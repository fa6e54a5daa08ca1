"""Eviction: which cached content goes when room is needed.

A policy sees entries in queues, ordered by rank, and says where an entry belongs (`place`, `hit`)
and what to do next to make room (`decide`). It keeps no state of its own: queue, rank and uses are
kept with the entry by whoever owns the shelf, and the inflation (GDSF's L) with the shelf.

Whoever owns the shelf decides how much room is needed, and asks `decide` again until there is so
much, doing what it says in between. The policies that can be chosen are in `eviction_policies`.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an entry stands: in `queue`, evicted the sooner the lower its `rank`, with `uses`
    counted as the policy counts them."""

    queue: str
    rank: float
    uses: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Content on the shelf. `size` is in bytes, times are Unix seconds."""

    key: str
    size: int
    stored_at: float
    used_at: float
    placement: Placement


class Shelf(Protocol):
    """What a policy sees of a cache, or of one upstream's part of it. Pinned entries and those
    that are still being filled are not seen."""

    def first(self, queue: str) -> Entry | None:
        """Return the entry of the lowest rank in a queue, any of them among equals."""
        ...

    def filled(self, queue: str) -> int:
        """Return how many bytes stand in a queue."""
        ...


@dataclass(frozen=True, slots=True)
class Evict:
    """Remove the entry; `remember` its key for a while, and let the inflation be `inflation`
    unless that is None."""

    entry: Entry
    remember: bool = False
    inflation: float | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Put the entry elsewhere, then decide again."""

    entry: Entry
    placement: Placement


class Policy(Protocol):
    """One way to choose. Everything is pure."""

    @property
    def name(self) -> str: ...

    def place(
        self, size: int, now: float, *, inflation: float = 0.0, remembered: bool = False
    ) -> Placement:
        """Say where an entry that has just been stored belongs. `remembered`: it was evicted not
        long ago."""
        ...

    def hit(self, entry: Entry, now: float, *, count: int = 1, inflation: float = 0.0) -> Placement:
        """Say where an entry belongs after it was used `count` times, last at `now`."""
        ...

    def decide(self, shelf: Shelf, now: float, capacity: int) -> Evict | Move | None:
        """Say what to do next to make room on a shelf of `capacity` bytes; None if nothing can
        go. `now` may stand still: sooner or later something is evicted all the same."""
        ...

    def overdue(self, shelf: Shelf, now: float) -> Evict | None:
        """Say what goes although there is room; None if nothing does, which most policies say
        always."""
        ...
