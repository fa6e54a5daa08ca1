"""Who is asked first (BE-07): rules by weight, load, latency and cost, over many requests."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from entrepot.rules.endpoint_choice import EndpointState, Selection, observed, rank

REQUESTS = 1000
NEAR, FAR = EndpointState(latency=0.02), EndpointState(latency=0.2)
CHEAP, DEAR = EndpointState(cost=1, latency=0.05), EndpointState(cost=9, latency=0.02)


def first_choices(selection: Selection, endpoints: list[EndpointState]) -> Counter[int]:
    """Return how often each endpoint is asked first in many requests."""
    dice = random.Random(7)
    return Counter(rank(selection, endpoints, turn, dice.random())[0] for turn in range(REQUESTS))


def test_the_slower_endpoint_gets_few_requests() -> None:
    """BE-07: less than a tenth, and still some, so that its recovery is noticed."""
    assert 0 < first_choices("latency", [FAR, NEAR])[0] < REQUESTS / 10


def test_the_dearer_endpoint_gets_few_requests() -> None:
    """BE-07: the cheaper one is asked although it is a little slower."""
    assert 0 < first_choices("cost", [DEAR, CHEAP])[0] < REQUESTS / 10


def test_an_endpoint_that_became_fast_is_found_out() -> None:
    dice, truth = random.Random(7), {0: 0.01, 1: 0.05}
    endpoints = [replace(FAR, latency=2.0), replace(NEAR, latency=0.05)]
    for turn in range(REQUESTS):
        asked = rank("latency", endpoints, turn, dice.random())[0]
        average = observed(endpoints[asked].latency, truth[asked])
        endpoints[asked] = replace(endpoints[asked], latency=average)
    assert rank("latency", endpoints, 0, 0.99) == (0, 1)


def test_a_cheap_endpoint_may_not_be_much_slower() -> None:
    crawling = replace(CHEAP, latency=0.5)
    assert rank("cost", [crawling, DEAR], 0, 0.99) == (1, 0)
    assert rank("cost", [replace(CHEAP, latency=0.11), DEAR], 0, 0.99) == (0, 1)


def test_equal_costs_go_by_latency() -> None:
    assert rank("cost", [FAR, NEAR], 0, 0.99) == (1, 0)


def test_order_is_as_configured() -> None:
    assert rank("order", [FAR, DEAR, NEAR], 5, 0.0) == (0, 1, 2)


@pytest.mark.parametrize(
    "weights", [(1, 1), (3, 1), (5, 1, 1), (2, 3, 5), (7,), (65535, 1), (100, 200, 300)]
)
def test_turns_follow_weights_exactly(weights: tuple[int, ...]) -> None:
    """BE-07: round robin is exact over every cycle, wherever it begins."""
    endpoints = [EndpointState(weight=weight) for weight in weights]
    cycle = sum(weights)
    turns = range(17, 17 + cycle) if cycle < 2000 else range(cycle)
    chosen = Counter(rank("round-robin", endpoints, turn, 0.5)[0] for turn in turns)
    assert [chosen[index] for index in range(len(weights))] == list(weights)


def test_turns_are_spread_and_not_bunched() -> None:
    endpoints = [EndpointState(weight=weight) for weight in (5, 1, 1)]
    names = "".join("abc"[rank("round-robin", endpoints, turn, 0.5)[0]] for turn in range(7))
    assert names == "aaabcaa"
    pair = [EndpointState(weight=2), EndpointState(weight=2)]
    assert [rank("round-robin", pair, turn, 0.5)[0] for turn in range(4)] == [0, 1, 0, 1]


def test_what_a_failed_endpoint_leaves_is_shared_by_weight() -> None:
    endpoints = [EndpointState(weight=weight) for weight in (6, 2, 1)]
    second = Counter(
        ranked[1]
        for turn in range(9 * 300)
        if (ranked := rank("round-robin", endpoints, turn, 0.5))[0] == 0
    )
    assert second == {1: 1200, 2: 600}


def test_weightless_endpoints_are_a_last_resort() -> None:
    backup = EndpointState(weight=0)
    assert rank("round-robin", [backup, NEAR], 3, 0.5) == (1, 0)
    assert rank("least-connections", [backup, replace(NEAR, running=99)], 3, 0.5) == (1, 0)
    assert rank("round-robin", [backup, backup], 1, 0.5) == (0, 1)


@pytest.mark.parametrize(
    ("running", "weights", "ranked"),
    [
        ((3, 1, 2), (1, 1, 1), (1, 2, 0)),
        ((3, 1, 2), (9, 1, 1), (0, 1, 2)),
        ((0, 0, 0), (1, 2, 1), (1, 0, 2)),
    ],
)
def test_the_least_loaded_for_its_weight_comes_first(
    running: tuple[int, ...], weights: tuple[int, ...], ranked: tuple[int, ...]
) -> None:
    endpoints = [
        EndpointState(weight=weight, running=count)
        for weight, count in zip(weights, running, strict=True)
    ]
    assert rank("least-connections", endpoints, 0, 0.5) == ranked


def test_equally_loaded_endpoints_take_turns() -> None:
    assert first_choices("least-connections", [NEAR, NEAR]) == {0: 500, 1: 500}


@pytest.mark.parametrize("selection", ["latency", "cost"])
def test_an_unmeasured_endpoint_is_tried_by_one_at_a_time(selection: Selection) -> None:
    fresh = EndpointState(latency=None)
    assert rank(selection, [NEAR, fresh], 0, 0.99)[0] == 1
    assert rank(selection, [NEAR, replace(fresh, running=1)], 0, 0.99)[0] == 0


@pytest.mark.parametrize(
    "selection", ["order", "round-robin", "least-connections", "latency", "cost"]
)
def test_an_open_breaker_leaves_an_endpoint_out(selection: Selection) -> None:
    gone = EndpointState(admits=False)
    assert rank(selection, [gone, FAR, gone], 4, 0.0) == (1,)
    assert rank(selection, [gone], 0, 0.0) == ()
    assert rank(selection, [], 0, 0.0) == ()


def test_the_average_moves_towards_samples() -> None:
    assert observed(None, 0.5) == 0.5
    assert observed(1.0, 0.5) == pytest.approx(0.9)
