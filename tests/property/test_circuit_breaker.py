"""The circuit breaker, for any course of events (HA-04)."""

from hypothesis import given
from hypothesis import strategies as st

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

_RESTS = st.none() | st.floats(-10, 1e9)
_EVENTS = st.one_of(
    st.sampled_from([Begun(), Succeeded(), Dropped(), Probed()]), st.builds(Failed, _RESTS)
)
_RANDOM = st.floats(0, 1, exclude_max=True)
_COURSES = st.lists(st.tuples(st.floats(0, 400), _EVENTS, _RANDOM), max_size=60)
_POLICIES = st.builds(
    BreakerPolicy,
    failures=st.integers(1, 6),
    ejection=st.just(0.0) | st.floats(0.01, 400),
    trials=st.integers(1, 3),
)

Course = list[tuple[float, Event, float]]


@given(_POLICIES, _COURSES)
def test_no_endpoint_is_left_alone_for_good(policy: BreakerPolicy, course: Course) -> None:
    breaker, now = Breaker(), 0.0
    longest = max(policy.most, policy.longest_rest, policy.patience)
    for pause, event, random in course:
        now += pause
        breaker = after(breaker, event, now, policy, random)
        assert admits(breaker, now + longest)


@given(_POLICIES, _COURSES)
def test_trials_are_few_and_one_success_among_them_closes(
    policy: BreakerPolicy, course: Course
) -> None:
    breaker, now = Breaker(), 0.0
    for pause, event, random in course:
        now += pause
        breaker = after(breaker, event, now, policy, random)
        assert 0 <= breaker.trials <= policy.trials
        assert breaker.state != "closed" or breaker.failures < policy.failures
        if breaker.state == "half-open":
            assert after(breaker, Succeeded(), now, policy, random) == Breaker()


@given(_POLICIES, _RANDOM, st.integers(0, 40))
def test_an_ejection_is_never_shorter_than_the_dice_allow(
    policy: BreakerPolicy, random: float, ejections: int
) -> None:
    on_trial = Breaker("half-open", ejections=ejections, trials=1)
    length = after(on_trial, Failed(), 0.0, policy, random).until
    whole = min(policy.most, policy.ejection * 2.0**ejections)
    assert 0.8 * whole <= length * (1 + 1e-9)
    assert length <= whole


@given(_POLICIES, _COURSES, _RANDOM, st.floats(0, 3600))
def test_a_rest_asked_for_is_kept_by_whatever_follows(
    policy: BreakerPolicy, course: Course, random: float, rest: float
) -> None:
    breaker = after(Breaker(), Failed(rest), 0.0, policy, random)
    now = 0.0
    for pause, event, chance in course:
        now += pause
        if now >= rest:
            break
        assert not admits(breaker, now)
        breaker = after(breaker, event, now, policy, chance)
