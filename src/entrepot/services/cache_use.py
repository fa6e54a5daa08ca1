"""How a cache is used: hits and counters, gathered in memory and written to the index together,
since a write for every pull would cost more than the pull."""

import contextlib
from collections import defaultdict
from dataclasses import dataclass, field

from entrepot.oci.digest import Digest
from entrepot.oci.errors import RegistryError
from entrepot.ports.cache_index import CacheUpkeep, Usage
from entrepot.ports.clock import Clock
from entrepot.ports.mirror_books import Kind, MirrorBooks, Outcome
from entrepot.rules.eviction import Policy


@dataclass(slots=True)
class _Tally:
    """What is counted of one upstream, as `Usage` names it; changed in place, for every pull."""

    hits: int = 0
    misses: int = 0
    stale: int = 0
    coalesced: int = 0
    fetched_bytes: int = 0
    served_bytes: int = 0

    def usage(self) -> Usage:
        return Usage(
            hits=self.hits,
            misses=self.misses,
            stale=self.stale,
            coalesced=self.coalesced,
            fetched_bytes=self.fetched_bytes,
            served_bytes=self.served_bytes,
        )

    def add(self, other: "_Tally") -> None:
        self.hits += other.hits
        self.misses += other.misses
        self.stale += other.stale
        self.coalesced += other.coalesced
        self.fetched_bytes += other.fetched_bytes
        self.served_bytes += other.served_bytes


@dataclass(slots=True)
class CacheUse:
    """Uses and counts that are not yet written; `flush` writes them."""

    upkeep: CacheUpkeep
    policy: Policy
    books: MirrorBooks
    clock: Clock
    _uses: dict[Digest, tuple[int, float]] = field(default_factory=dict)
    _counts: dict[str, _Tally] = field(default_factory=lambda: defaultdict(_Tally))

    def answered(self, upstream: str, kind: Kind, outcome: Outcome) -> None:
        """Count an answer to a client."""
        self.books.asked(upstream, kind, outcome)
        count = self._counts[upstream]
        match outcome:
            case "hit":
                count.hits += 1
            case "miss":
                count.misses += 1
            case "stale":
                count.stale += 1
            case "coalesced":
                count.coalesced += 1

    def used(self, digest: Digest, upstream: str, kind: Kind, size: int) -> None:
        """Note that content was served, `size` bytes of it."""
        count, _ = self._uses.get(digest, (0, 0.0))
        self._uses[digest] = count + 1, self.clock.now()
        self.served(upstream, kind, size)

    def served(self, upstream: str, kind: Kind, size: int) -> None:
        """Count bytes that go to a client."""
        self.books.served(upstream, kind, size)
        self._counts[upstream].served_bytes += size

    def fetched(self, upstream: str, kind: Kind, size: int) -> None:
        """Count bytes that came from upstream."""
        self.books.fetched(upstream, kind, size)
        self._counts[upstream].fetched_bytes += size

    async def flush(self) -> None:
        """Write what was gathered; what cannot be written now is kept for the next time."""
        uses, self._uses = self._uses, {}
        counts, self._counts = self._counts, defaultdict(_Tally)
        if uses:
            with contextlib.suppress(RegistryError):
                await self.upkeep.touch(uses, self.policy)
        for upstream, change in counts.items():
            try:
                await self.upkeep.count(upstream, change.usage())
            except RegistryError:
                self._counts[upstream].add(change)
