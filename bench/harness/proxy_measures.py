"""What is measured of caches, and what they are to reach. Pure.

Unlike the goals of a registry, these are not all about the same peer: a cold cache is compared
with going direct, a warm one with our own hosted images, many cold clients with the best peer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.harness import report
from bench.harness.chart import Bar, bars
from bench.harness.results import Measure, Results

DIRECT: Final = "direct"
HOSTED: Final = "hosted"
CLIENTS: Final = 16

FIRST_LARGE: Final = Measure("first byte of a cold blob, 1 MiB", "ms", "less", peak=False)
FIRST_SMALL: Final = Measure("first byte of a cold blob, 2 KiB", "ms", "less", peak=False)
COLD_ONE: Final = Measure("cold pull, 1 client", "MB/s")
COLD_MANY: Final = Measure(f"cold pull, {CLIENTS} clients", "s", "less", peak=False)
SENT: Final = Measure(f"bytes sent for {CLIENTS} clients", "images", "less")
ASKED: Final = Measure(f"requests for {CLIENTS} clients", "requests", "less")
COLD_CPU: Final = Measure(f"CPU of a cold pull, {CLIENTS} clients", "s", "less", peak=False)
WARM_ONE: Final = Measure("warm pull, 1 client", "MB/s")
WARM_MANY: Final = Measure(f"warm pull, {CLIENTS} clients", "MB/s")
ALWAYS_ONE: Final = Measure("warm, tags confirmed, 1 client", "MB/s")
ALWAYS_MANY: Final = Measure(f"warm, tags confirmed, {CLIENTS} clients", "MB/s")
DEAD_ONE: Final = Measure("upstream dead, 1 client", "MB/s")
DEAD_MANY: Final = Measure(f"upstream dead, {CLIENTS} clients", "MB/s")
DEAD_ALWAYS_ONE: Final = Measure("dead, tags confirmed, 1 client", "MB/s")
DEAD_ALWAYS_MANY: Final = Measure(f"dead, tags confirmed, {CLIENTS} clients", "MB/s")
DEAD_FIRST: Final = Measure("first tag after the upstream died", "ms", "less")
MEMORY: Final = Measure("memory", "MB", "less")
MEMORY_RSS: Final = Measure("same as RSS, summed", "MB", "less")

MEASURES: Final = (
    *(FIRST_LARGE, FIRST_SMALL, COLD_ONE, COLD_MANY, SENT, ASKED, COLD_CPU),
    *(WARM_ONE, WARM_MANY, ALWAYS_ONE, ALWAYS_MANY),
    *(DEAD_ONE, DEAD_MANY, DEAD_ALWAYS_ONE, DEAD_ALWAYS_MANY, DEAD_FIRST),
    *(MEMORY, MEMORY_RSS),
)


@dataclass(frozen=True, slots=True)
class Goal:
    """Something to reach: `least` or `most` bounds the median of the rounds' `values`.

    `is_ratio` says that 1 means being equal to what it is compared with.
    """

    name: str
    values: Callable[[Results, str], Sequence[float]]
    least: float | None = None
    most: float | None = None
    unit: str = ""
    is_ratio: bool = True

    def reached(self, values: Sequence[float]) -> bool:
        """Whether these values are enough; none are not."""
        if not values:
            return False
        value = median(values)
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )

    @property
    def bound(self) -> str:
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"


def _over(measure: Measure, other: str) -> Callable[[Results, str], Sequence[float]]:
    """Return what makes each round's ratio to another server; more than 1 is better."""

    def values(results: Results, mine: str) -> Sequence[float]:
        pairs = zip(results.values(measure, mine), results.values(measure, other), strict=False)
        less = measure.better == "less"
        return [theirs / ours if less else ours / theirs for ours, theirs in pairs]

    return values


def _more(measure: Measure, other: str) -> Callable[[Results, str], Sequence[float]]:
    """Return what makes each round's difference to another server."""

    def values(results: Results, mine: str) -> Sequence[float]:
        pairs = zip(results.values(measure, mine), results.values(measure, other), strict=False)
        return [ours - theirs for ours, theirs in pairs]

    return values


def _over_best(measure: Measure, peers: Sequence[str]) -> Callable[[Results, str], Sequence[float]]:
    """Return what makes each round's ratio to the best of the peers that were measured."""

    def values(results: Results, mine: str) -> Sequence[float]:
        every = [_over(measure, peer)(results, mine) for peer in peers]
        present = [ratios for ratios in every if ratios]
        return [min(ratios) for ratios in zip(*present, strict=False)]

    return values


def _own(measure: Measure) -> Callable[[Results, str], Sequence[float]]:
    return lambda results, mine: results.values(measure, mine)


def goals(peers: Sequence[str], hosted: str) -> list[Goal]:
    """Return what one of our servers is to reach; `hosted` is its name as a plain registry."""
    return [
        Goal(
            f"{FIRST_LARGE.name}: ours - direct", _more(FIRST_LARGE, DIRECT), None, 5, "ms", False
        ),
        Goal(
            f"{FIRST_SMALL.name}: ours - direct", _more(FIRST_SMALL, DIRECT), None, 5, "ms", False
        ),
        Goal(f"{COLD_ONE.name} ÷ direct", _over(COLD_ONE, DIRECT), 0.95),
        Goal(f"{SENT.name}", _own(SENT), None, 1.02, "images", False),
        Goal(f"{COLD_MANY.name} ÷ best peer", _over_best(COLD_MANY, peers), 1.5),
        Goal(f"{WARM_ONE.name} ÷ hosted", _over(WARM_ONE, hosted), 0.9),
        Goal(f"{WARM_MANY.name} ÷ hosted", _over(WARM_MANY, hosted), 0.9),
        Goal(f"{DEAD_ONE.name} ÷ hosted", _over(DEAD_ONE, hosted), 0.9),
        Goal(f"{DEAD_MANY.name} ÷ hosted", _over(DEAD_MANY, hosted), 0.9),
    ]


def goal_table(results: Results, peers: Sequence[str], ours: dict[str, str]) -> str:
    """Return one row per goal with what each of our servers reached, in Markdown.

    `ours` maps our servers to their names as plain registries.
    """
    rows = [["", "target", *(cell for mine in ours for cell in (mine, ""))]]
    columns = [(mine, goals(peers, hosted)) for mine, hosted in ours.items()]
    for number, first in enumerate(columns[0][1]):
        row = [first.name, f"{first.bound} {first.unit}".strip()]
        for mine, every in columns:
            values = every[number].values(results, mine)
            row += [_shown(values), "reached" if first.reached(values) else "MISSED"]
        rows.append(row)
    return report.aligned(rows)


def missed(results: Results, peers: Sequence[str], ours: dict[str, str]) -> list[str]:
    """Name every goal that one of our servers has missed."""
    return [
        f"{mine}: {goal.name}: {_shown(values)}, the target is {goal.bound} {goal.unit}".rstrip()
        for mine, hosted in ours.items()
        for goal in goals(peers, hosted)
        if not goal.reached(values := goal.values(results, mine))
    ]


def chart(results: Results, peers: Sequence[str], mine: str, hosted: str) -> str:
    """Return what one of our servers has reached, where that is a ratio, as an SVG document."""
    entries = [
        Bar(goal.name, median(values), goal.least)
        for goal in goals(peers, hosted)
        if goal.is_ratio and (values := goal.values(results, mine))
    ]
    return bars(f"{mine} as a cache (red: target)", entries)


def table(results: Results, servers: Sequence[str]) -> str:
    """Return one row per measure: medians with their range, in Markdown."""
    rows = [["", "unit", *servers]]
    for measure in results.measures:
        cells = [report.numbers(measure, results.values(measure, name)) for name in servers]
        rows.append([measure.name, measure.unit, *cells])
    return report.aligned(rows)


def _shown(values: Sequence[float]) -> str:
    if not values:
        return "not measured"
    middle = f"{median(values):.2f}"
    return f"{middle} ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else middle
