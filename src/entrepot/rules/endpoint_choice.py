"""Endpoint choice: in which order the endpoints of an upstream are tried.

    order              as they are configured
    round-robin        in turn, each as often as its weight says
    least-connections  the one with the fewest running requests for its weight
    latency            the fastest
    cost               the cheapest that is not much slower than the fastest

An endpoint of weight 0 comes after all others in the two rules that know weights. Where latency
counts, one in twenty requests tries another endpoint than the best first: what was slow once may
be fast today. Everything is pure; the turn and the dice are arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Selection = Literal["order", "round-robin", "least-connections", "latency", "cost"]

EXPLORED: Final = 0.05
"""The part of requests that tries another endpoint than the best one first."""

_NEWEST: Final = 0.2
"""The weight of the newest sample in the average."""

_SLOWER, _LATER = 2.0, 0.1
"""A cheap endpoint may take twice as long as the fastest, or 100 ms longer."""


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What is known of an endpoint: its weight, its cost in any unit, the average latency in
    seconds (None: never measured), how many requests run, and whether its breaker admits one."""

    weight: int = 1
    cost: float = 0.0
    latency: float | None = None
    running: int = 0
    admits: bool = True


def rank(
    selection: Selection, endpoints: Sequence[EndpointState], turn: int, random: float
) -> tuple[int, ...]:
    """Return the indices of the endpoints that may be asked, the one to ask first in front.

    `turn` counts the upstream's requests, `random` is in [0, 1). Nothing is returned if no breaker
    admits a request.
    """
    admitted = [index for index, one in enumerate(endpoints) if one.admits]
    return tuple(_RULES[selection](_Field(endpoints, admitted, turn, random)))


def observed(latency: float | None, sample: float) -> float:
    """Return the average latency after a new sample (both in seconds): an exponentially weighted
    moving average."""
    return sample if latency is None else latency + _NEWEST * (sample - latency)


@dataclass(frozen=True, slots=True)
class _Field:
    """All endpoints, the indices of those that compete, the turn and the dice."""

    endpoints: Sequence[EndpointState]
    admitted: list[int]
    turn: int
    random: float


def _in_order(field: _Field) -> list[int]:
    return field.admitted


def _in_turn(field: _Field) -> list[int]:
    """The endpoint whose turn it is, then the one that the others' weights choose for this turn of
    it, and so on: what a failed endpoint leaves over is shared by weight, too."""
    left = [index for index in field.admitted if field.endpoints[index].weight > 0]
    weightless = [index for index in field.admitted if field.endpoints[index].weight <= 0]
    ranked, turn = [], field.turn
    while left:
        weights = [field.endpoints[index].weight for index in left]
        position, turn = _whose_turn(weights, turn)
        ranked.append(left.pop(position))
    return ranked + weightless


def _whose_turn(weights: Sequence[int], turn: int) -> tuple[int, int]:
    """Return who is served at a turn, spread as evenly as the weights allow, and how many turns
    it has had before.

    The j-th service of one with weight w is due at (2j - 1) / 2w of the cycle (Webster's method,
    known from elections), and a turn is the rank of a service in that order. All due well before
    are counted at once, then the few left are gone through: no state, and no long cycle of large
    weights to go through.
    """
    cycle, count = sum(weights), len(weights)
    past, turn = divmod(turn, cycle)
    early = 2 * turn - count
    served = [max(0, (early * weight + cycle) // (2 * cycle)) for weight in weights]
    while True:
        due = [(2 * done + 1) / weight for done, weight in zip(served, weights, strict=True)]
        next_one = due.index(min(due))
        if sum(served) == turn:
            return next_one, past * weights[next_one] + served[next_one]
        served[next_one] += 1


def _least_loaded(field: _Field) -> list[int]:
    def load(index: int) -> float:
        one = field.endpoints[index]
        return (one.running + 1) / one.weight if one.weight > 0 else float("inf")

    return sorted(_in_turn(field), key=load)  # stable: equals take turns


def _fastest(field: _Field) -> list[int]:
    return _explored(field, sorted(_in_turn(field), key=lambda index: _expected(field, index)))


def _cheapest(field: _Field) -> list[int]:
    known = [one.latency for one in map(field.endpoints.__getitem__, field.admitted)]
    fastest = min((latency for latency in known if latency is not None), default=0.0)
    bound = max(_SLOWER * fastest, fastest + _LATER)

    def dearness(index: int) -> tuple[bool, float, float]:
        latency = _expected(field, index)
        too_slow = latency > bound
        return too_slow, 0.0 if too_slow else field.endpoints[index].cost, latency

    return _explored(field, sorted(_in_turn(field), key=dearness))


def _expected(field: _Field, index: int) -> float:
    """Return the latency to expect. One that is not known is worth a look, but not many at once:
    nobody knows how slow it is."""
    one = field.endpoints[index]
    if one.latency is not None:
        return one.latency
    return 0.0 if one.running == 0 else float("inf")


def _explored(field: _Field, ranked: list[int]) -> list[int]:
    others = len(ranked) - 1
    if others < 1 or field.random >= EXPLORED:
        return ranked
    other = ranked.pop(1 + int(field.random / EXPLORED * others))
    return [other, *ranked]


_RULES: Final[Mapping[Selection, Callable[[_Field], list[int]]]] = {
    "order": _in_order,
    "round-robin": _in_turn,
    "least-connections": _least_loaded,
    "latency": _fastest,
    "cost": _cheapest,
}
