"""The breaker at scripted times (HA-04): closed, open, half-open, closed again."""

from dataclasses import replace

import pytest

from entrepot.rules.circuit_breaker import (
    Begun,
    Breaker,
    BreakerPolicy,
    Dropped,
    Event,
    Failed,
    Probed,
    Succeeded,
    admits,
    after,
)

POLICY = BreakerPolicy(failures=3, ejection=10.0, most=35.0, trials=2, patience=60.0)
OPEN = Breaker("open", failures=3, ejections=1, until=110.0)
RESTING = replace(OPEN, asked=True)
TRIED = Breaker("half-open", failures=3, ejections=1, until=170.0, trials=1)


def script(*steps: tuple[float, Event], start: Breaker | None = None) -> Breaker:
    """Return the breaker after events at their times, with nothing left to chance."""
    breaker = start or Breaker()
    for now, event in steps:
        breaker = after(breaker, event, now, POLICY, random=0.0)
    return breaker


def test_a_breaker_goes_the_whole_way_round() -> None:
    """HA-04: closed, open, half-open, open for longer, half-open, closed."""
    breaker = script((1, Failed()), (2, Failed()))
    assert breaker.state == "closed"
    assert admits(breaker, 2)

    breaker = script((3, Failed()), start=breaker)
    assert (breaker.state, breaker.until) == ("open", 13.0)
    assert not admits(breaker, 12.9)
    assert admits(breaker, 13.0)

    breaker = script((13, Begun()), start=breaker)
    assert breaker.state == "half-open"
    assert admits(breaker, 13)
    breaker = script((13, Begun()), start=breaker)
    assert not admits(breaker, 13)  # two trials are on their way

    breaker = script((14, Failed()), start=breaker)
    assert (breaker.state, breaker.until) == ("open", 34.0)

    breaker = script((34, Begun()), (35, Succeeded()), start=breaker)
    assert breaker == Breaker()


def test_only_failures_in_a_row_count() -> None:
    twice = script((1, Failed()), (2, Failed()), (3, Succeeded()), (4, Failed()), (5, Failed()))
    assert twice.state == "closed"


def test_ejections_double_up_to_a_limit_and_start_anew_once_closed() -> None:
    breaker, now, lengths = script((0, Failed()), (0, Failed()), (0, Failed())), 0.0, []
    for _ in range(4):
        lengths.append(breaker.until - now)
        now = breaker.until
        breaker = script((now, Begun()), (now, Failed()), start=breaker)
    assert lengths == [10.0, 20.0, 35.0, 35.0]
    closed = script((breaker.until, Begun()), (breaker.until, Succeeded()), start=breaker)
    assert script(*[(900, Failed())] * 3, start=closed).until == 910.0


@pytest.mark.parametrize(("random", "length"), [(0.0, 10.0), (0.5, 9.0), (0.999, 8.002)])
def test_chance_shortens_an_ejection_by_up_to_a_fifth(random: float, length: float) -> None:
    almost = Breaker(failures=2)
    assert after(almost, Failed(), 100.0, POLICY, random).until == pytest.approx(100.0 + length)


def test_who_asks_for_rest_gets_it_at_once() -> None:
    """HA-04: Retry-After is obeyed to the second, whatever the dice say."""
    breaker = after(Breaker(), Failed(retry_after=42.0), 100.0, POLICY, random=0.9)
    assert (breaker.state, breaker.until, breaker.ejections) == ("open", 142.0, 0)
    assert not admits(breaker, 141.9)


def test_a_mistaken_rest_ends_within_the_hour() -> None:
    assert script((0, Failed(retry_after=1e12))).until == 3600.0
    assert script((50, Failed(retry_after=-5))).until == 50.0


@pytest.mark.parametrize(
    ("before", "event", "then"),
    [
        pytest.param(Breaker(failures=1), Begun(), Breaker(failures=1), id="closed, begun"),
        pytest.param(Breaker(failures=1), Dropped(), Breaker(failures=1), id="closed, dropped"),
        pytest.param(Breaker(failures=1), Probed(), Breaker(failures=1), id="closed, probed"),
        pytest.param(Breaker(failures=1), Succeeded(), Breaker(), id="closed, success"),
        pytest.param(OPEN, Begun(), OPEN, id="open, begun too early"),
        pytest.param(OPEN, Succeeded(), OPEN, id="open, a straggler's success"),
        pytest.param(OPEN, Failed(), OPEN, id="open, a straggler's failure"),
        pytest.param(OPEN, Failed(5.0), OPEN, id="open, a shorter rest"),
        pytest.param(OPEN, Failed(50.0), replace(RESTING, until=150.0), id="open, a longer rest"),
        pytest.param(OPEN, Dropped(), OPEN, id="open, dropped"),
        pytest.param(
            OPEN,
            Probed(),
            Breaker("half-open", failures=3, ejections=1, until=100.0, trials=2),
            id="open, a probe was answered",
        ),
        pytest.param(RESTING, Probed(), RESTING, id="a rest asked for, a probe was answered"),
        pytest.param(TRIED, Begun(), replace(TRIED, trials=0, until=160.0), id="trial, begun"),
        pytest.param(TRIED, Dropped(), replace(TRIED, trials=2), id="trial, dropped"),
        pytest.param(TRIED, Probed(), TRIED, id="trial, probed"),
        pytest.param(TRIED, Succeeded(), Breaker(), id="trial, success"),
        pytest.param(
            TRIED,
            Failed(7.0),
            Breaker("open", failures=3, ejections=1, until=107.0, asked=True),
            id="trial, rest asked for",
        ),
        pytest.param(
            TRIED,
            Failed(),
            Breaker("open", failures=3, ejections=2, until=120.0),
            id="trial, failure",
        ),
    ],
)
def test_each_state_meets_each_event(before: Breaker, event: Event, then: Breaker) -> None:
    assert script((100, event), start=before) == then


def test_a_trial_that_never_tells_makes_room_for_another() -> None:
    waiting = replace(TRIED, trials=0)
    assert not admits(waiting, 169.9)
    assert admits(waiting, 170.0)
    assert not admits(script((170, Begun()), start=waiting), 170.1)
