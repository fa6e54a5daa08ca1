"""What was measured, what it is compared with, and whether that is enough. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that is measured once per round.

    `better` says whether more or less of it is better; less is also summed up by the largest
    value instead of the median, as a peak must be, unless `peak` is false. `target` bounds ours
    divided by the peer's: from below where more is better, from above where less is.
    """

    name: str
    unit: str
    better: Literal["more", "less"] = "more"
    target: float | None = None
    peak: bool = True

    @property
    def is_peak(self) -> bool:
        return self.peak and self.better == "less"

    def summary(self, values: Sequence[float]) -> float:
        return max(values) if self.is_peak else median(values)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours divided by a peer's. `lowest` and `highest` are those of single rounds."""

    value: float
    lowest: float
    highest: float


class Results:
    """Every number of every round, by measure and server."""

    def __init__(self, measures: Sequence[Measure], ours: str) -> None:
        self.measures = tuple(measures)
        self.ours = ours
        self._values: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, measure: Measure, server: str, value: float) -> None:
        """Add the number of one more round."""
        self._values[measure.name, server].append(value)

    def values(self, measure: Measure, server: str) -> Sequence[float]:
        """Return the numbers of all rounds, in order; none if it was not measured."""
        return self._values.get((measure.name, server), [])

    def servers(self) -> list[str]:
        """Return the servers that were measured, ours first, else in order of appearance."""
        seen = dict.fromkeys(server for _, server in self._values)
        return sorted(seen, key=lambda server: server != self.ours)

    def ratio(self, measure: Measure, peer: str) -> Ratio | None:
        """Return ours / the peer's, None where either is missing.

        But for peaks it is the median of the rounds' own ratios: what slows the machine for a
        while slows both sides of a round.
        """
        ours, theirs = self.values(measure, self.ours), self.values(measure, peer)
        if not ours or not theirs:
            return None
        rounds = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        value = median(rounds)
        if measure.is_peak:
            value = measure.summary(ours) / measure.summary(theirs)
        return Ratio(value, min(rounds), max(rounds))

    def missed(self, peer: str) -> list[str]:
        """Name every target against `peer` that is missed or was not measured."""
        return [
            f"{measure.name}: {_shown(ratio)}, the target is {_bound(measure)}"
            for measure in self.measures
            if measure.target is not None
            and not reaches(measure, ratio := self.ratio(measure, peer))
        ]

    def behind(self, peer: str) -> Iterator[tuple[Measure, Ratio]]:
        """Yield the measures in which `peer` is better than we are."""
        for measure in self.measures:
            ratio = self.ratio(measure, peer)
            if ratio and (ratio.value < 1 if measure.better == "more" else ratio.value > 1):
                yield measure, ratio

    def raw(self) -> Mapping[str, Mapping[str, Sequence[float]]]:
        """Return every number by measure and server."""
        return {
            measure.name: {
                server: self.values(measure, server)
                for server in self.servers()
                if self.values(measure, server)
            }
            for measure in self.measures
        }


def reaches(measure: Measure, ratio: Ratio | None) -> bool:
    """Whether a ratio reaches the measure's target; one that is not there does not."""
    if ratio is None or measure.target is None:
        return False
    if measure.better == "more":
        return ratio.value >= measure.target
    return ratio.value <= measure.target


def _shown(ratio: Ratio | None) -> str:
    return "not measured" if ratio is None else f"{ratio.value:.2f}"


def _bound(measure: Measure) -> str:
    return f"{'at least' if measure.better == 'more' else 'at most'} {measure.target:g}"
