"""Ratios are taken within rounds, and a target that is missed or not measured is named."""

import pytest

from bench.harness.results import Measure, Results

FAST = Measure("GET", "req/s", target=2)
SMALL = Measure("memory", "MB", "less", target=1)


def results(**rounds: tuple[list[float], list[float]]) -> Results:
    """Return results of us and a peer; the keywords are names of measures."""
    found = Results([FAST, SMALL], "us")
    for measure in found.measures:
        ours, theirs = rounds.get(measure.name, ([], []))
        for mine, other in zip(ours, theirs, strict=True):
            found.add(measure, "peer", other)
            found.add(measure, "us", mine)
    return found


def test_a_round_that_is_slow_for_both_changes_no_ratio() -> None:
    found = results(GET=([300, 30, 330], [100, 10, 110])).ratio(FAST, "peer")
    assert found is not None
    assert found.value == found.lowest == found.highest == 3


def test_a_peak_is_the_largest_of_all_rounds() -> None:
    found = results(memory=([10, 50, 10], [40, 40, 40])).ratio(SMALL, "peer")
    assert found is not None
    assert found.value == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("speed", "memory", "missed"),
    [
        (2.0, 1.0, []),
        (1.99, 1.0, ["GET: 1.99, the target is at least 2"]),
        (2.0, 1.01, ["memory: 1.01, the target is at most 1"]),
    ],
)
def test_targets_bound_more_from_below_and_less_from_above(
    speed: float, memory: float, missed: list[str]
) -> None:
    found = results(GET=([speed], [1]), memory=([memory], [1]))
    assert found.missed("peer") == missed


def test_what_was_not_measured_is_missed() -> None:
    assert results(GET=([3], [1])).missed("peer") == [
        "memory: not measured, the target is at most 1"
    ]


def test_where_a_peer_is_better_is_told_in_both_directions() -> None:
    found = results(GET=([1], [2]), memory=([2], [1]))
    assert [measure.name for measure, _ in found.behind("peer")] == ["GET", "memory"]
    assert not list(results(GET=([2], [1]), memory=([1], [2])).behind("peer"))
