"""The fake cache index's content: states, sums counted anew each time, and a policy's shelf."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.ports.cache_index import OVERDUE_AT_ONCE, CachedContent, Quota, State, Usage
from entrepot.rules.eviction import Entry, Evict, Placement, Policy

_FEWEST_GHOSTS: Final = 1_000
_NOWHERE: Final = Placement("", 0, 0)


@dataclass(slots=True)
class Row:
    """Content, where it stands, and by whose policy."""

    content: CachedContent
    policy: str = ""
    placement: Placement = _NOWHERE

    @property
    def is_seen(self) -> bool:
        """Whether policies see it."""
        return self.content.state == "stored" and not self.content.pinned

    @property
    def entry(self) -> Entry:
        one = self.content
        return Entry(str(one.digest), one.size, one.stored_at, one.used_at, self.placement)


@dataclass(frozen=True, slots=True)
class MemoryShelf:
    """A `rules.eviction.Shelf` of one upstream or of all (None)."""

    rows: Mapping[Digest, Row]
    policy: Policy
    upstream: str | None

    def seen(self) -> Iterator[Row]:
        """Yield what stands on it, in the order it came."""
        for row in self.rows.values():
            if row.is_seen and self.upstream in (None, row.content.upstream):
                yield row

    def first(self, queue: str) -> Entry | None:
        queued = [row.entry for row in self._queued(queue)]
        return min(queued, key=lambda entry: entry.placement.rank, default=None)

    def filled(self, queue: str) -> int:
        return sum(row.content.size for row in self._queued(queue))

    def _queued(self, queue: str) -> Iterator[Row]:
        for row in self.seen():
            if (row.policy, row.placement.queue) == (self.policy.name, queue):
                yield row


@dataclass(slots=True, eq=False)
class MemoryContents:
    """See `CachedContents`."""

    rows: dict[Digest, Row] = field(default_factory=dict)
    pins: set[Digest] = field(default_factory=set)
    counters: dict[str, Usage] = field(default_factory=dict)
    ghosts: dict[Digest, int] = field(default_factory=dict)
    inflations: dict[tuple[str, str | None], float] = field(default_factory=dict)
    remembered: int = 0

    async def find(self, digest: Digest) -> CachedContent | None:
        row = self.rows.get(digest)
        return None if row is None else row.content

    async def reserve(
        self, digest: Digest, size: int, upstream: str, quota: Quota, *, at: float
    ) -> int:
        row = self.rows.get(digest)
        if row is not None and row.content.state == "stored":
            return 0
        growth = size - (row.content.size if row else 0)
        if row is None or growth > 0:
            everything = [other.content for other in self.rows.values()]
            own = sum(other.size for other in everything if other.upstream == upstream)
            if lacking := quota.lacking(size, growth, own, sum(one.size for one in everything)):
                return lacking
        content = CachedContent(digest, size, "filling", upstream, pinned=digest in self.pins)
        if row is None:
            self.rows[digest] = Row(content)
        else:
            kept = row.content
            row.content = replace(content, used_at=kept.used_at, uses=kept.uses)
        return 0

    async def stored(self, digest: Digest, stamp: str, policy: Policy, *, at: float) -> None:
        row = self.rows.get(digest)
        if row is None or row.content.state == "evicting":
            return
        if row.content.state == "filling":
            remembered = self.ghosts.pop(digest, None) is not None
            high = self.inflation(policy, row)
            row.policy = policy.name
            row.placement = policy.place(
                row.content.size, at, inflation=high, remembered=remembered
            )
            used_at = max(row.content.used_at, at)
            row.content = replace(row.content, state="stored", stored_at=at, used_at=used_at)
        row.content = replace(row.content, stamp=stamp, verified_at=at)

    async def forget(self, digest: Digest, *, state: State | None = None) -> None:
        row = self.rows.get(digest)
        if row is not None and state in (None, row.content.state):
            del self.rows[digest]

    async def choose(
        self, policy: Policy, upstream: str | None, size: int, capacity: int, *, at: float
    ) -> Sequence[CachedContent]:
        shelf = MemoryShelf(self.rows, policy, upstream)
        self._adopt(shelf)
        chosen: list[CachedContent] = []
        while len(chosen) < OVERDUE_AT_ONCE and (late := policy.overdue(shelf, at)) is not None:
            row = self.rows[Digest.parse(late.entry.key)]
            chosen.append(self._evict(row, late, policy, upstream))
        while sum(one.size for one in chosen) < size:
            step = policy.decide(shelf, at, capacity)
            if step is None:
                break
            row = self.rows[Digest.parse(step.entry.key)]
            if isinstance(step, Evict):
                chosen.append(self._evict(row, step, policy, upstream))
            else:
                row.placement = step.placement
        return chosen

    async def take(self, digest: Digest) -> bool:
        row = self.rows.get(digest)
        if row is None or row.content.state != "stored":
            return False
        row.content = replace(row.content, state="evicting")
        return True

    async def unfinished(self) -> Sequence[CachedContent]:
        return [row.content for row in self.rows.values() if row.content.state != "stored"]

    def inflation(self, policy: Policy, row: Row) -> float:
        """Return what content is placed with: it stands on its upstream's shelf and on all's."""
        scopes = (None, row.content.upstream)
        return max(self.inflations.get((policy.name, scope), 0.0) for scope in scopes)

    def add(self, upstream: str, changes: Usage) -> None:
        """Add to counters."""
        known = self.counters.get(upstream, Usage())
        sums = {
            name.name: getattr(known, name.name) + getattr(changes, name.name)
            for name in fields(Usage)
            if name.name not in ("size", "items")
        }
        self.counters[upstream] = Usage(**sums)

    def _adopt(self, shelf: MemoryShelf) -> None:
        """Place what another policy has placed."""
        for row in shelf.seen():
            if row.policy != shelf.policy.name:
                high, one = self.inflation(shelf.policy, row), row.content
                row.policy = shelf.policy.name
                row.placement = shelf.policy.place(one.size, one.stored_at, inflation=high)
                if one.uses:
                    fresh = replace(row.entry, used_at=one.stored_at)
                    row.placement = shelf.policy.hit(
                        fresh, one.used_at, count=one.uses, inflation=high
                    )

    def _evict(self, row: Row, step: Evict, policy: Policy, upstream: str | None) -> CachedContent:
        row.content = replace(row.content, state="evicting")
        size = row.content.size
        self.add(row.content.upstream, Usage(evictions=1, evicted_bytes=size))
        if step.inflation is not None:
            self.inflations[policy.name, upstream] = step.inflation
        if step.remember:
            self.remembered += 1
            self.ghosts[row.content.digest] = self.remembered
            oldest = self.remembered - max(len(self.rows), _FEWEST_GHOSTS)
            self.ghosts = {key: turn for key, turn in self.ghosts.items() if turn > oldest}
        return row.content


@dataclass(slots=True, eq=False)
class MemoryUpkeep:
    """See `CacheUpkeep`."""

    known: MemoryContents

    async def touch(self, uses: Mapping[Digest, tuple[int, float]], policy: Policy) -> None:
        for digest, (count, last) in uses.items():
            row = self.known.rows.get(digest)
            if row is None:
                continue
            one = row.content
            used_at = max(last, one.used_at)
            if one.state == "stored" and row.policy == policy.name:
                high = self.known.inflation(policy, row)
                row.placement = policy.hit(row.entry, used_at, count=count, inflation=high)
            row.content = replace(one, uses=one.uses + count, used_at=used_at)

    async def verified(self, digest: Digest, stamp: str, *, at: float) -> None:
        row = self.known.rows.get(digest)
        if row is not None and row.content.state == "stored":
            row.content = replace(row.content, stamp=stamp, verified_at=at)

    async def distrust(self, within: float) -> int:
        stored = [row for row in self.known.rows.values() if row.content.state == "stored"]
        last = max((max(r.content.stored_at, r.content.used_at) for r in stored), default=0.0)
        late = [r for r in stored if r.content.stamp and r.content.stored_at >= last - within]
        for row in late:
            row.content = replace(row.content, stamp="")
        return len(late)

    async def set_back(self, now: float) -> int:
        ahead = [
            row
            for row in self.known.rows.values()
            if max(row.content.stored_at, row.content.used_at, row.content.verified_at) > now
        ]
        for row in ahead:
            one = row.content
            row.policy, row.placement = "", _NOWHERE
            row.content = replace(
                one,
                stored_at=min(one.stored_at, now),
                used_at=min(one.used_at, now),
                verified_at=min(one.verified_at, now),
            )
        return len(ahead)

    async def oldest_verified(self, limit: int, before: float) -> Sequence[CachedContent]:
        known = [row.content for row in self.known.rows.values()]
        due = [one for one in known if one.state == "stored" and one.verified_at < before]
        return sorted(due, key=lambda one: one.verified_at)[:limit]

    async def pin(self, digests: Sequence[Digest], pinned: bool) -> int:
        pins = self.known.pins
        before = len(pins)
        (pins.update if pinned else pins.difference_update)(digests)
        for digest in digests:
            if row := self.known.rows.get(digest):
                row.content = replace(row.content, pinned=pinned)
        return abs(len(pins) - before)

    async def count(self, upstream: str, changes: Usage) -> None:
        self.known.add(upstream, changes)

    async def usage(self) -> Mapping[str, Usage]:
        usage = dict(self.known.counters)
        for row in self.known.rows.values():
            one = row.content
            known = usage.get(one.upstream, Usage())
            usage[one.upstream] = replace(known, size=known.size + one.size, items=known.items + 1)
        return {upstream: sums for upstream, sums in sorted(usage.items()) if sums != Usage()}

    async def contents(
        self, upstream: str | None = None, *, after: Digest | None = None, limit: int
    ) -> Sequence[CachedContent]:
        known = [row.content for row in self.known.rows.values()]
        found = [
            one
            for one in known
            if upstream in (None, one.upstream) and (after is None or one.digest > after)
        ]
        return sorted(found, key=lambda one: one.digest)[:limit]
