"""How a cache is used: hits and counters, gathered in memory and written to the index together,
since a write for every pull would cost more than the pull."""

import contextlib
from collections import defaultdict
from dataclasses import dataclass, field, fields, replace

from entrepot.oci.digest import Digest
from entrepot.oci.errors import RegistryError
from entrepot.ports.cache_index import CacheUpkeep, Usage
from entrepot.ports.clock import Clock
from entrepot.ports.mirror_books import Kind, MirrorBooks, Outcome
from entrepot.rules.eviction import Policy


@dataclass(slots=True)
class CacheUse:
    """Uses and counts that are not yet written; `flush` writes them."""

    upkeep: CacheUpkeep
    policy: Policy
    books: MirrorBooks
    clock: Clock
    _uses: dict[Digest, tuple[int, float]] = field(default_factory=dict)
    _counts: dict[str, Usage] = field(default_factory=lambda: defaultdict(Usage))

    def answered(self, upstream: str, kind: Kind, outcome: Outcome) -> None:
        """Count an answer to a client."""
        self.books.asked(upstream, kind, outcome)
        match outcome:
            case "hit":
                self._count(upstream, Usage(hits=1))
            case "miss":
                self._count(upstream, Usage(misses=1))
            case "stale":
                self._count(upstream, Usage(stale=1))
            case "coalesced":
                self._count(upstream, Usage(coalesced=1))

    def used(self, digest: Digest, upstream: str, kind: Kind, size: int) -> None:
        """Note that content was served, `size` bytes of it."""
        count, _ = self._uses.get(digest, (0, 0.0))
        self._uses[digest] = count + 1, self.clock.now()
        self.served(upstream, kind, size)

    def served(self, upstream: str, kind: Kind, size: int) -> None:
        """Count bytes that go to a client."""
        self.books.served(upstream, kind, size)
        self._count(upstream, Usage(served_bytes=size))

    def fetched(self, upstream: str, kind: Kind, size: int) -> None:
        """Count bytes that came from upstream."""
        self.books.fetched(upstream, kind, size)
        self._count(upstream, Usage(fetched_bytes=size))

    async def flush(self) -> None:
        """Write what was gathered; what cannot be written now is kept for the next time."""
        uses, self._uses = self._uses, {}
        counts, self._counts = self._counts, defaultdict(Usage)
        if uses:
            with contextlib.suppress(RegistryError):
                await self.upkeep.touch(uses, self.policy)
        for upstream, change in counts.items():
            try:
                await self.upkeep.count(upstream, change)
            except RegistryError:
                self._count(upstream, change)

    def _count(self, upstream: str, change: Usage) -> None:
        self._counts[upstream] = _sum(self._counts[upstream], change)


def _sum(first: Usage, second: Usage) -> Usage:
    return replace(
        first,
        **{one.name: getattr(first, one.name) + getattr(second, one.name) for one in fields(Usage)},
    )
