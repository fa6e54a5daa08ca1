"""Freshness, for any age, budget and answers (CA-02)."""

from typing import get_args

from hypothesis import assume, given
from hypothesis import strategies as st

from entrepot.rules.freshness import (
    ConflictRule,
    Mode,
    absent_until,
    conflict,
    decide,
    is_absent,
    requests_left,
)

_MODES = st.sampled_from(get_args(Mode))
_AGES = st.none() | st.floats(-1e6, 1e6)
_SECONDS = st.floats(0, 1e6)
_LEFT = st.none() | st.integers(0, 1000)
_FLOORS = st.integers(0, 100)
_DIGESTS = st.sampled_from("abc")


@given(_MODES, _AGES, _SECONDS, _LEFT, _FLOORS)
def test_only_what_is_cached_is_served_and_only_what_is_not_is_fetched(
    mode: Mode, age: float | None, ttl: float, remaining: int | None, floor: int
) -> None:
    decision = decide(mode, age, ttl, remaining=remaining, floor=floor)
    assert (decision == "pass_on") == (mode == "off")
    assert (decision == "fetch") == (mode != "off" and age is None)


@given(_MODES, st.floats(0, 1e6), _SECONDS, _LEFT, _FLOORS, st.floats(0, 1e6))
def test_a_younger_tag_is_never_asked_about_sooner(
    mode: Mode, age: float, ttl: float, remaining: int | None, floor: int, younger: float
) -> None:
    assume(younger <= age)
    if decide(mode, age, ttl, remaining=remaining, floor=floor) == "serve":
        assert decide(mode, younger, ttl, remaining=remaining, floor=floor) == "serve"


@given(_LEFT, _SECONDS, _SECONDS, st.none() | st.integers(0, 1000), st.integers(1, 100_000))
def test_a_budget_only_grows_and_in_the_end_is_not_known(
    remaining: int | None, elapsed: float, more: float, limit: int | None, window: int
) -> None:
    early = requests_left(remaining, elapsed, limit=limit, window=window)
    late = requests_left(remaining, elapsed + more, limit=limit, window=window)
    assert requests_left(remaining, float(window), limit=limit, window=window) is None
    assert late is None or (early is not None and early <= late)


@given(
    st.sampled_from(get_args(ConflictRule)), st.none() | _DIGESTS, st.lists(_DIGESTS, max_size=4)
)
def test_what_is_chosen_was_told_or_cached(
    rule: ConflictRule, cached: str | None, answers: list[str]
) -> None:
    assume(cached is not None or answers)
    chosen, diverged = conflict(rule, cached, answers)
    assert chosen in {cached, *answers}
    assert diverged == bool(set(answers) - {chosen})
    if len({cached, *answers}) == 1:
        assert not diverged


@given(st.floats(0, 4e9), _SECONDS, st.floats(-1e9, 1e9))
def test_absence_is_believed_for_its_time_and_no_longer(
    now: float, ttl: float, later: float
) -> None:
    until = absent_until(now, ttl)
    assume(abs(later) > 0.001)
    assume(abs(later - ttl) > 0.001)
    assert is_absent(until, now + later, ttl) == (0 < later < ttl)
