"""What caches are to reach: compared with going direct, with hosted images, with the best peer."""

import pytest

from bench.harness import proxy_measures as measures
from bench.harness.proxy_measures import DIRECT, HOSTED
from bench.harness.results import Measure, Results

OURS = "entrepot"
PEERS = ["slow", "slower", "absent"]


def results_of(rounds: dict[tuple[Measure, str], list[float]]) -> Results:
    results = Results(measures.MEASURES, OURS)
    for (measure, server), values in rounds.items():
        for value in values:
            results.add(measure, server, value)
    return results


GOOD = {
    (measures.FIRST_LARGE, DIRECT): [52.0, 60.0, 51.0],
    (measures.FIRST_LARGE, OURS): [54.0, 63.0, 90.0],
    (measures.FIRST_SMALL, DIRECT): [51.0],
    (measures.FIRST_SMALL, OURS): [56.0],
    (measures.COLD_ONE, DIRECT): [48.0, 40.0],
    (measures.COLD_ONE, OURS): [48.0, 39.0],
    (measures.SENT, OURS): [1.0001, 1.0001],
    (measures.COLD_MANY, OURS): [2.0, 3.0],
    (measures.COLD_MANY, "slow"): [4.0],
    (measures.COLD_MANY, "slower"): [40.0],
    (measures.WARM_ONE, OURS): [1900.0],
    (measures.WARM_ONE, HOSTED): [2000.0],
    (measures.WARM_MANY, OURS): [3000.0],
    (measures.WARM_MANY, HOSTED): [2900.0],
    (measures.DEAD_ONE, OURS): [1900.0],
    (measures.DEAD_ONE, HOSTED): [2000.0],
    (measures.DEAD_MANY, OURS): [2900.0],
    (measures.DEAD_MANY, HOSTED): [3000.0],
}


def test_everything_can_be_reached() -> None:
    assert measures.missed(results_of(GOOD), PEERS, {OURS: HOSTED}) == []


@pytest.mark.parametrize(
    ("measure", "values", "told"),
    [
        (measures.FIRST_LARGE, [60.0, 66.0, 57.0], "6.00 (6.00 to 8.00), the target is ≤ 5 ms"),
        (measures.COLD_ONE, [44.0, 37.0], "0.92 (0.92 to 0.93), the target is ≥ 0.95"),
        (measures.SENT, [1.0, 1.1], "1.05 (1.00 to 1.10), the target is ≤ 1.02 images"),
        (measures.COLD_MANY, [3.0], "1.33, the target is ≥ 1.5"),
        (measures.WARM_ONE, [1700.0], "0.85, the target is ≥ 0.9"),
        (measures.DEAD_MANY, [], "not measured, the target is ≥ 0.9"),
    ],
    ids=["first-byte", "cold", "sent", "many", "warm", "dead"],
)
def test_what_is_missed_is_told_with_its_target(
    measure: Measure, values: list[float], told: str
) -> None:
    missed = measures.missed(results_of({**GOOD, (measure, OURS): values}), PEERS, {OURS: HOSTED})
    assert len(missed) == 1
    assert missed[0].startswith(f"{OURS}: {measure.name}")
    assert missed[0].endswith(told)


def test_every_goal_has_a_row_and_every_measured_ratio_a_bar() -> None:
    results = results_of(GOOD)
    table = measures.goal_table(results, PEERS, {OURS: HOSTED})
    assert table.count("\n") == 1 + len(measures.goals(PEERS, HOSTED))
    assert "MISSED" not in table
    chart = measures.chart(results, PEERS, OURS, HOSTED)
    assert all(goal.name in chart for goal in measures.goals(PEERS, HOSTED) if goal.is_ratio)
    assert "ms" not in chart


def test_the_table_has_a_column_for_who_was_not_measured() -> None:
    lines = measures.table(results_of(GOOD), [OURS, "absent"]).splitlines()
    assert len(lines) == 2 + len(measures.MEASURES)
    assert all(line.rstrip(" |").endswith("-") for line in lines[2:])
