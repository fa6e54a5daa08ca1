"""Eviction against reference models that know nothing of queues and ranks (CA-03).

Each model is the textbook's algorithm over plain Python containers; for any trace it must evict
the same keys in the same order.
"""

from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Protocol, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.rules.eviction_policies import PolicyName, policy_named
from tests.plain_shelf import PlainShelf

_START = 1_700_000_000.0
_TTL = 50.0
_SIZES = {key: 2 ** (order % 4) for order, key in enumerate("abcdefghij")}  # exact as floats

_TRACES = st.lists(
    st.tuples(st.sampled_from(sorted(_SIZES)), st.integers(1, 20)), min_size=1, max_size=120
)
_CAPACITIES = st.integers(8, 40)
_NAMES = st.sampled_from(get_args(PolicyName))

Trace = list[tuple[str, int]]


class Model(Protocol):
    """A reference: `hit` for a key that is there, `store` for one that is not, `victim` removes
    and returns the key that goes next."""

    def hit(self, key: str) -> None: ...
    def store(self, key: str) -> None: ...
    def victim(self) -> str: ...


class RecencyModel:
    def __init__(self, capacity: int) -> None:
        self._order: list[str] = []

    def hit(self, key: str) -> None:
        self._order.remove(key)
        self._order.append(key)

    def store(self, key: str) -> None:
        self._order.append(key)

    def victim(self) -> str:
        return self._order.pop(0)


class AgeModel(RecencyModel):
    def hit(self, key: str) -> None:
        pass


class ValueModel:
    """Greedy-dual: the least value goes and becomes the level; among equals the one used
    longest ago goes, or with `by_name` the first by name."""

    def __init__(self, worth: Callable[[str, int], Fraction], *, by_name: bool) -> None:
        self._worth, self._by_name = worth, by_name
        self._level, self._turn = Fraction(0), 0
        self._uses: dict[str, int] = {}
        self._value: dict[str, tuple[Fraction, int | str]] = {}

    def hit(self, key: str) -> None:
        self._uses[key] += 1
        self._turn += 1
        value = self._level + self._worth(key, self._uses[key])
        self._value[key] = (value, key if self._by_name else self._turn)

    def store(self, key: str) -> None:
        self._uses[key] = 0
        self.hit(key)

    def victim(self) -> str:
        key = min(self._value, key=lambda one: self._value[one])
        self._level = self._value.pop(key)[0]
        return key


class TwoQueuesModel:
    """S3-FIFO as its authors describe it."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._small: deque[str] = deque()
        self._main: deque[str] = deque()
        self._uses: dict[str, int] = {}
        self._ghosts: set[str] = set()

    def hit(self, key: str) -> None:
        self._uses[key] = min(3, self._uses[key] + 1)

    def store(self, key: str) -> None:
        self._uses[key] = 0
        (self._main if key in self._ghosts else self._small).append(key)
        self._ghosts.discard(key)

    def victim(self) -> str:
        while True:
            in_small = sum(_SIZES[key] for key in self._small)
            if self._small and (not self._main or in_small >= self._capacity / 10):
                key = self._small.popleft()
                if not self._uses[key]:
                    self._ghosts.add(key)
                    return key
                self._uses[key] = 0
            else:
                key = self._main.popleft()
                if not self._uses[key]:
                    return key
                self._uses[key] -= 1
            self._main.append(key)


MODELS: dict[PolicyName, Callable[[int], Model]] = {
    "lru": RecencyModel,
    "lfu": lambda _: ValueModel(lambda _, uses: Fraction(uses), by_name=False),
    "gdsf": lambda _: ValueModel(lambda key, uses: Fraction(uses, _SIZES[key]), by_name=True),
    "s3-fifo": TwoQueuesModel,
    "ttl": AgeModel,
}


def victims(model: Model, trace: Trace, capacity: int) -> list[str]:
    """Replay a trace over a model; return what went, in order."""
    here: set[str] = set()
    gone = []
    for key, _ in trace:
        if key in here:
            model.hit(key)
            continue
        while sum(_SIZES[one] for one in here) + _SIZES[key] > capacity:
            gone.append(model.victim())
            here.remove(gone[-1])
        model.store(key)
        here.add(key)
    return gone


def replayed(name: PolicyName, trace: Trace, capacity: int) -> PlainShelf:
    """Replay a trace over a policy, at growing times."""
    shelf, now = PlainShelf(policy_named(name, _TTL), capacity, tick=1e-5), _START
    for key, pause in trace:
        now += pause
        shelf.ask(key, _SIZES[key], now)
    return shelf


@pytest.mark.parametrize("name", sorted(MODELS))
@given(_TRACES, _CAPACITIES)
def test_victims_are_those_of_the_reference(name: PolicyName, trace: Trace, capacity: int) -> None:
    """CA-03: the same keys go in the same order."""
    assert replayed(name, trace, capacity).evicted == victims(
        MODELS[name](capacity), trace, capacity
    )


def test_every_policy_has_its_reference() -> None:
    assert set(MODELS) == set(get_args(PolicyName))


@given(_NAMES, _TRACES, _CAPACITIES, st.integers(1, 40))
def test_nothing_goes_beyond_need(
    name: PolicyName, trace: Trace, capacity: int, needed: int
) -> None:
    """CA-03: without the last victim there would not be room enough."""
    shelf = replayed(name, trace, capacity)
    before = dict(shelf.entries)
    shelf.evicted.clear()
    assert (shelf.make_room(needed, _START + 1e6) is not None) == (needed <= capacity)
    assert shelf.size() <= capacity
    if shelf.evicted:
        assert shelf.size() + before[shelf.evicted[-1]].size + needed > capacity


@given(_NAMES, _TRACES, _CAPACITIES, st.sets(st.sampled_from(sorted(_SIZES))))
def test_pins_are_kept_and_all_else_can_go(
    name: PolicyName, trace: Trace, capacity: int, pinned: set[str]
) -> None:
    """CA-03: also where the clock stands still, decisions come to an end."""
    shelf = replayed(name, trace, capacity)
    shelf.pinned, shelf.tick = pinned, 0.0
    kept = pinned & set(shelf.entries)
    shelf.make_room(capacity, _START)
    assert set(shelf.entries) == kept


@given(_NAMES, _TRACES, _CAPACITIES, st.floats(0, 3000))
def test_only_what_is_too_old_is_overdue(
    name: PolicyName, trace: Trace, capacity: int, later: float
) -> None:
    shelf = replayed(name, trace, capacity)
    old = {
        key
        for key, entry in shelf.entries.items()
        if name == "ttl" and _START + later - entry.stored_at >= _TTL
    }
    before = set(shelf.entries)
    shelf.tidy(_START + later)
    assert before - set(shelf.entries) == old
