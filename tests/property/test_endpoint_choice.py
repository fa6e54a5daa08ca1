"""Ranking endpoints, for any of them (BE-07)."""

from collections import Counter
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from entrepot.rules.endpoint_choice import EndpointState, Selection, rank

_SELECTIONS = st.sampled_from(get_args(Selection))
_ENDPOINTS = st.lists(
    st.builds(
        EndpointState,
        weight=st.integers(0, 65535),
        cost=st.floats(0, 100),
        latency=st.none() | st.floats(0, 60),
        running=st.integers(0, 1000),
        admits=st.booleans(),
    ),
    max_size=8,
)
_RANDOM = st.floats(0, 1, exclude_max=True)


@given(_SELECTIONS, _ENDPOINTS, st.integers(0, 2**63), _RANDOM)
def test_every_endpoint_that_may_be_asked_is_ranked_once(
    selection: Selection, endpoints: list[EndpointState], turn: int, random: float
) -> None:
    ranked = rank(selection, endpoints, turn, random)
    assert sorted(ranked) == [index for index, one in enumerate(endpoints) if one.admits]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(0, 10**6))
def test_over_a_cycle_everybody_is_served_by_weight(weights: list[int], start: int) -> None:
    endpoints = [EndpointState(weight=weight) for weight in weights]
    turns = range(start, start + sum(weights))
    served = Counter(rank("round-robin", endpoints, turn, 0.5)[0] for turn in turns)
    assert [served[index] for index in range(len(weights))] == weights


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_nobody_is_ever_far_from_a_fair_share(weights: list[int]) -> None:
    endpoints = [EndpointState(weight=weight) for weight in weights]
    cycle, served = sum(weights), Counter[int]()
    for turn in range(cycle):
        served[rank("round-robin", endpoints, turn, 0.5)[0]] += 1
        for index, weight in enumerate(weights):
            assert abs(served[index] - weight * (turn + 1) / cycle) < len(weights)
