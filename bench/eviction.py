"""`dev.py bench eviction`: which policy finds most of what is asked for in a cache of a given size.

Every policy of `cache.policy` replays the same trace of image pulls in caches of several sizes. The
trace is generated (see `bench/harness/pull_trace.py`) and the same for the same seed, or read from
files of a published one. Nothing is timed and nothing is stored: the numbers are the same anywhere.
"""

import argparse
import heapq
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, get_args

from bench.harness.line_chart import Panel, lines
from bench.harness.pull_trace import Request, generated, published
from entrepot.rules.eviction import Entry, Evict, Move, Placement, Policy
from entrepot.rules.eviction_policies import PolicyName, policy_named

PULLS, SEED = 20_000, 1
SHARES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Sizes of the cache, as parts of all bytes that are ever asked for."""

DEFAULT: Final[PolicyName] = "s3-fifo"
JUDGED: Final = 0.1
"""Up to this size of the cache the default must find at least what LRU finds: where room is scarce
it matters what goes."""

_START: Final = 1_700_000_000.0
_PAUSE: Final = 5.0
_TTL: Final = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Found:
    """What one policy found in a cache of `share` of all bytes: parts of the requests and of the
    bytes asked for, and how many entries it evicted."""

    policy: str
    share: float
    hits: float
    bytes: float
    evictions: int


class Cache:
    """A cache without content, of `capacity` bytes, under a policy. A shelf whose queues are heaps:
    what has moved on or is gone stays in them until it comes up."""

    def __init__(self, policy: Policy, capacity: int) -> None:
        self._policy, self._capacity = policy, capacity
        self._entries: dict[str, Entry] = {}
        self._queues: dict[str, list[tuple[float, str]]] = {}
        self._filled: Counter[str] = Counter()
        self._remembered: dict[str, None] = {}
        self._inflation = 0.0
        self._size = 0
        self.evicted: list[str] = []

    def first(self, queue: str) -> Entry | None:
        """Return the entry of the lowest rank, by its key among equals."""
        heap = self._queues.get(queue, [])
        while heap:
            rank, key = heap[0]
            entry = self._entries.get(key)
            if entry and (entry.placement.queue, entry.placement.rank) == (queue, rank):
                return entry
            heapq.heappop(heap)
        return None

    def filled(self, queue: str) -> int:
        return self._filled[queue]

    def ask(self, key: str, size: int, now: float) -> bool:
        """Ask for content, which is stored if it was not there; return whether it was."""
        entry = self._entries.get(key)
        if entry is not None:
            place = self._policy.hit(entry, now, inflation=self._inflation)
            self._put(replace(entry, used_at=now), place)
            return True
        if size > self._capacity:
            return False
        while self._size + size > self._capacity:
            step = self._policy.decide(self, now, self._capacity)
            assert step is not None, "there is something to evict as long as there is no room"
            self._do(step)
        remembered = key in self._remembered
        self._remembered.pop(key, None)
        place = self._policy.place(size, now, inflation=self._inflation, remembered=remembered)
        self._size += size
        self._put(Entry(key, size, now, now, place), place)
        return False

    def _put(self, entry: Entry, place: Placement) -> None:
        before = self._entries.get(entry.key)
        if before is not None:
            self._filled[before.placement.queue] -= before.size
        self._filled[place.queue] += entry.size
        self._entries[entry.key] = replace(entry, placement=place)
        if before is None or (before.placement.queue, before.placement.rank) != (
            place.queue,
            place.rank,
        ):
            heapq.heappush(self._queues.setdefault(place.queue, []), (place.rank, entry.key))

    def _do(self, step: Evict | Move) -> None:
        if isinstance(step, Move):
            self._put(step.entry, step.placement)
            return
        entry = self._entries.pop(step.entry.key)
        self._filled[entry.placement.queue] -= entry.size
        self._size -= entry.size
        self.evicted.append(entry.key)
        if step.inflation is not None:
            self._inflation = step.inflation
        if step.remember:
            self._remembered[entry.key] = None
        while len(self._remembered) > len(self._entries):  # as many as there are entries
            del self._remembered[next(iter(self._remembered))]


def replayed(requests: Sequence[Request], policy: PolicyName, share: float) -> Found:
    """Replay a trace over a policy."""
    cache = Cache(policy_named(policy, _TTL), int(share * total(requests)))
    hits = found = 0
    for number, (key, size) in enumerate(requests):
        if cache.ask(key, size, _START + number * _PAUSE):
            hits += 1
            found += size
    asked = sum(size for _, size in requests)
    return Found(policy, share, hits / len(requests), found / asked, len(cache.evicted))


def total(requests: Sequence[Request]) -> int:
    """Return the bytes of all that is asked for, each counted once."""
    return sum(dict(requests).values())


def unlimited(requests: Sequence[Request]) -> tuple[float, float]:
    """Return what a cache without limits finds: all but the first request for each."""
    asked = sum(size for _, size in requests)
    return 1 - len(dict(requests)) / len(requests), 1 - total(requests) / asked


def table(found: Sequence[Found], requests: Sequence[Request]) -> str:
    """Return a table in Markdown: a line per policy, a column per size, hits / bytes in percent."""
    shares = sorted({one.share for one in found})
    rows = [["", *(f"{share * 100:.0f} %" for share in shares)], ["-", *("-" for _ in shares)]]
    for policy in dict.fromkeys(one.policy for one in found):
        cells = {one.share: one for one in found if one.policy == policy}
        shown = [
            f"{cells[share].hits * 100:.1f} / {cells[share].bytes * 100:.1f}" for share in shares
        ]
        rows.append([policy, *shown])
    hits, size = unlimited(requests)
    rows.append(["no limit", *[""] * (len(shares) - 1), f"{hits * 100:.1f} / {size * 100:.1f}"])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width, "-" if cell == "-" else " ")
            for cell, width in zip(row, widths, strict=True)
        )
        + " |"
        for row in rows
    )


def chart(found: Sequence[Found]) -> str:
    """Return the same as SVG."""
    shares = sorted({one.share for one in found})
    hits: dict[str, list[float]] = {}
    sizes: dict[str, list[float]] = {}
    for one in sorted(found, key=lambda one: one.share):
        hits.setdefault(one.policy, []).append(one.hits)
        sizes.setdefault(one.policy, []).append(one.bytes)
    return lines(
        "What each policy finds in the cache",
        [f"{share * 100:.0f} %" for share in shares],
        "size of the cache, as part of all that is asked for",
        [Panel("of the requests", hits), Panel("of the bytes", sizes)],
    )


def missed(found: Sequence[Found]) -> list[str]:
    """Name every size up to JUDGED at which the default policy finds less than LRU."""
    lru = {one.share: one for one in found if one.policy == "lru"}
    return [
        f"{DEFAULT} finds {one.hits:.1%} at {one.share:.0%}, lru {lru[one.share].hits:.1%}"
        for one in found
        if one.policy == DEFAULT and one.share <= JUDGED and one.hits < lru[one.share].hits
    ]


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark as the arguments say; return the exit code."""
    options = _parser().parse_args(arguments)
    pulls = PULLS // 10 if options.quick else options.pulls
    requests = published(options.trace) if options.trace else generated(pulls, options.seed)
    found = [
        replayed(requests, policy, share) for policy in get_args(PolicyName) for share in SHARES
    ]
    source = "published trace" if options.trace else f"{pulls} pulls, seed {options.seed}"
    print(
        f"{source}: {len(requests)} requests for {len(dict(requests))} pieces of content, "
        f"{total(requests) / 1e9:.1f} GB; hits / bytes found, in percent, by the cache's size\n"
    )
    print(table(found, requests))
    if options.chart:
        options.chart.write_text(chart(found))
    if options.json:
        document = {
            "source": source,
            "requests": len(requests),
            "content": len(dict(requests)),
            "bytes": total(requests),
            "found": [asdict(one) for one in found],
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    short = missed(found)
    print(*(f"missed: {line}" for line in short), sep="\n")
    return 1 if options.check and short else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("dev.py bench eviction", description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"fail where a small cache finds less by {DEFAULT} than by lru",
    )
    parser.add_argument("--quick", action="store_true", help="a short trace")
    parser.add_argument("--pulls", type=int, default=PULLS, metavar="N")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N")
    parser.add_argument(
        "--trace",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="replay files of IBM's registry traces (FAST 2018) instead",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw them as SVG")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
