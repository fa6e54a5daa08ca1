"""A start is judged by the median of what it took."""

import pytest

from bench.startup import Start


@pytest.mark.parametrize(
    ("taken", "verdict"),
    [
        ([1.0, 1.0, 1.0], "reached"),
        ([0.1, 2.0, 9.0], "reached"),
        ([1.9, 2.1, 2.1], "MISSED"),
    ],
)
def test_the_median_decides(taken: list[float], verdict: str) -> None:
    assert Start("serve", 2.0, lambda: 0.0).verdict(taken) == verdict
