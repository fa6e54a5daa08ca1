import pytest

from entrepot.rules.retries import RetryPolicy, is_hopeless, next_delay

POLICY = RetryPolicy(retries=5, first=1.0, most=5.0, patience=60.0)


@pytest.mark.parametrize(("failures", "most"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (5, 5.0)])
def test_waits_double_up_to_a_limit_and_are_spread_from_zero(failures: int, most: float) -> None:
    assert next_delay(POLICY, failures, 0.0) == 0.0
    assert next_delay(POLICY, failures, 0.5) == most / 2


def test_after_the_last_retry_comes_none() -> None:
    assert next_delay(POLICY, 6, 0.0) is None
    assert next_delay(RetryPolicy(retries=0), 1, 0.0) is None
    assert next_delay(RetryPolicy(retries=10_000), 9_999, 0.5) == 10.0


def test_what_is_asked_for_is_waited_within_patience() -> None:
    assert next_delay(POLICY, 1, 0.5, asked=60.0) == 60.5
    assert next_delay(POLICY, 1, 0.5, asked=61.0) is None
    assert next_delay(POLICY, 6, 0.5, asked=1.0) is None


def test_a_budget_is_hopeless_if_it_stays_empty() -> None:
    assert is_hopeless(0, 21600, POLICY)
    assert not is_hopeless(0, 60, POLICY)
    assert not is_hopeless(1, 21600, POLICY)
    assert not is_hopeless(0, None, POLICY)
    assert not is_hopeless(None, 21600, POLICY)
