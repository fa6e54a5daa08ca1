"""A cache under an eviction policy, as plain as can be: it looks at every entry each time.

What it does is what `ports/cache_index` promises: room is made before content is stored, never more
than is needed, and what is pinned is not seen.
"""

from dataclasses import dataclass, field, replace

from entrepot.rules.eviction import Entry, Evict, Move, Policy


@dataclass
class PlainShelf:
    """A shelf of `capacity` bytes; `evicted` are the keys that went, in order. Each step takes
    `tick` seconds. With `forgets`, no more keys are remembered than there are entries."""

    policy: Policy
    capacity: int
    entries: dict[str, Entry] = field(default_factory=dict)
    remembered: list[str] = field(default_factory=list)
    pinned: set[str] = field(default_factory=set)
    inflation: float = 0.0
    evicted: list[str] = field(default_factory=list)
    tick: float = 0.0
    forgets: bool = False

    def first(self, queue: str) -> Entry | None:
        """Return the entry of the lowest rank, by its key among equals."""
        here = [one for one in self._seen() if one.placement.queue == queue]
        return min(here, key=lambda one: (one.placement.rank, one.key), default=None)

    def filled(self, queue: str) -> int:
        return sum(one.size for one in self._seen() if one.placement.queue == queue)

    def size(self) -> int:
        """Return the bytes of all that is there."""
        return sum(one.size for one in self.entries.values())

    def ask(self, key: str, size: int, now: float) -> bool:
        """Ask for content, which is stored if it was not there; return whether it was."""
        entry = self.entries.get(key)
        if entry is not None:
            placement = self.policy.hit(entry, now, inflation=self.inflation)
            self.entries[key] = replace(entry, used_at=now, placement=placement)
            return True
        ready = self.make_room(size, now)
        if ready is not None:
            placement = self.policy.place(
                size, ready, inflation=self.inflation, remembered=key in self.remembered
            )
            if key in self.remembered:
                self.remembered.remove(key)
            self.entries[key] = Entry(key, size, ready, ready, placement)
        return False

    def make_room(self, size: int, now: float) -> float | None:
        """Evict until `size` bytes fit; return when they do, None if they never will."""
        if size > self.capacity:
            return None
        while self.size() + size > self.capacity:
            step = self.policy.decide(self, now, self.capacity)
            if step is None:
                return None
            self._do(step)
            now += self.tick
        return now

    def tidy(self, now: float) -> None:
        """Evict what is overdue."""
        while (step := self.policy.overdue(self, now)) is not None:
            self._do(step)

    def _seen(self) -> list[Entry]:
        return [one for one in self.entries.values() if one.key not in self.pinned]

    def _do(self, step: Evict | Move) -> None:
        key = step.entry.key
        if isinstance(step, Move):
            self.entries[key] = replace(self.entries[key], placement=step.placement)
            return
        del self.entries[key]
        self.evicted.append(key)
        if step.remember:
            self.remembered.append(key)
        if self.forgets:
            self.remembered = self.remembered[-len(self.entries) :] if self.entries else []
        if step.inflation is not None:
            self.inflation = step.inflation
