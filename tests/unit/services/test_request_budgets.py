"""What upstreams allow is remembered with the time at which it was told anew (CA-02)."""

from entrepot.ports.remote_registry import RateLimit
from entrepot.services.request_budgets import RequestBudgets

HUB = "docker.io"


def test_nothing_told_is_nothing_known() -> None:
    budgets = RequestBudgets()
    budgets.note(HUB, None, 0.0)
    assert budgets.left(HUB, 0.0) is None


def test_a_budget_grows_back_from_when_it_was_told() -> None:
    budgets = RequestBudgets()
    budgets.note(HUB, RateLimit(100, 5, 1000), 50.0)
    assert budgets.left(HUB, 50.0) == 5.0
    assert budgets.left(HUB, 150.0) == 15.0
    assert budgets.left("quay.io", 150.0) is None


def test_what_is_seen_again_unchanged_was_not_told_again() -> None:
    """An upstream's last answer stays what it is while it is not asked."""
    budgets = RequestBudgets()
    for now in (0.0, 100.0, 200.0):
        budgets.note(HUB, RateLimit(100, 5, 1000), now)
    assert budgets.left(HUB, 200.0) == 25.0
    budgets.note(HUB, RateLimit(100, 4, 1000), 200.0)
    assert budgets.left(HUB, 200.0) == 4.0


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    budgets = RequestBudgets()
    budgets.note(HUB, RateLimit(100, 5, 1000), 50.0)
    assert budgets.left(HUB, 0.0) == 5.0
