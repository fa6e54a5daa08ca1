"""The circuit breaker: when an endpoint that fails is left alone, and how it comes back.

    closed     asked as usual; opens after so many failures in a row, or when it asks for rest
    open       left alone, at first for `ejection`, each time twice as long; then
    half-open  some trials: the first success closes it, a failure opens it for longer

One breaker belongs to one endpoint as one process sees it. The states and what leads from one to
the other stand in one table below; clock and randomness are arguments.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

State = Literal["closed", "open", "half-open"]

_SPREAD: Final = 0.2
"""The part of an ejection that is left to chance, so that processes do not come back together."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Open after `failures` in a row, for `ejection` seconds, each time twice as long up to
    `most`; then let `trials` requests through at once.

    Who asks for rest (Retry-After) gets it, up to `longest_rest`: a mistaken one must not end an
    endpoint for good. A trial that has told nothing after `patience` seconds makes room for
    another.
    """

    failures: int = 5
    ejection: float = 10.0
    most: float = 300.0
    trials: int = 1
    longest_rest: float = 3600.0
    patience: float = 60.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """One endpoint's state.

    `failures` are those in a row, `ejections` how often it has opened since it was last closed,
    `trials` how many more are let through. `until` is when it may be tried again (open), or when
    a silent trial is given up (half-open). `asked`: the endpoint itself has asked for this rest.
    """

    state: State = "closed"
    failures: int = 0
    ejections: int = 0
    until: float = 0.0
    trials: int = 0
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """A request is on its way."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A request was answered as a healthy endpoint does, be it with a refusal."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A request or a probe has failed; `retry_after` are the seconds of rest asked for."""

    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A request was given up, or has said nothing about the endpoint's health."""


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe was answered. It shows that somebody is there, not that requests succeed: trials
    may begin at once, no more."""


Event = Begun | Succeeded | Failed | Dropped | Probed


def after(
    breaker: Breaker, event: Event, now: float, policy: BreakerPolicy, random: float
) -> Breaker:
    """Return the breaker as it is after an event at `now` (seconds of any clock that never goes
    back); `random` is in [0, 1)."""
    step = _NEXT.get((breaker.state, type(event)))
    return step(_Moment(breaker, event, now, policy, random)) if step else breaker


def admits(breaker: Breaker, now: float) -> bool:
    """Say whether a request may be sent now. Who sends one tells it by `Begun`."""
    if breaker.state == "half-open":
        return breaker.trials > 0 or now >= breaker.until
    return breaker.state == "closed" or now >= breaker.until


@dataclass(frozen=True, slots=True)
class _Moment:
    breaker: Breaker
    event: Event
    now: float
    policy: BreakerPolicy
    random: float

    @property
    def rest(self) -> float | None:
        """Seconds of rest that the endpoint asks for and gets."""
        if not isinstance(self.event, Failed) or self.event.retry_after is None:
            return None
        return min(max(0.0, self.event.retry_after), self.policy.longest_rest)


def _close(_: _Moment) -> Breaker:
    return Breaker()


def _count(moment: _Moment) -> Breaker:
    failures = moment.breaker.failures + 1
    counted = replace(moment, breaker=replace(moment.breaker, failures=failures))
    if moment.rest is not None or failures >= moment.policy.failures:
        return _open(counted)
    return counted.breaker


def _open(moment: _Moment) -> Breaker:
    before, policy, rest = moment.breaker, moment.policy, moment.rest
    if rest is not None:
        # A rest asked for tells nothing about how long the next ejection should be.
        return replace(before, state="open", until=moment.now + rest, trials=0, asked=True)
    longest = min(policy.most, policy.ejection * 2.0 ** min(before.ejections, 30))
    until = moment.now + longest * (1.0 - _SPREAD * moment.random)
    ejections = before.ejections + 1
    return replace(before, state="open", until=until, ejections=ejections, trials=0, asked=False)


def _rest_longer(moment: _Moment) -> Breaker:
    """A straggler's failure changes nothing, unless it brings a later Retry-After."""
    if moment.rest is None or moment.now + moment.rest <= moment.breaker.until:
        return moment.breaker
    return replace(moment.breaker, until=moment.now + moment.rest, asked=True)


def _first_trial(moment: _Moment) -> Breaker:
    return _trial(moment.breaker, moment) if moment.now >= moment.breaker.until else moment.breaker


def _trial(before: Breaker, moment: _Moment) -> Breaker:
    left = before.trials if before.state == "half-open" else moment.policy.trials
    until = moment.now + moment.policy.patience
    return replace(before, state="half-open", trials=max(0, left - 1), until=until, asked=False)


def _trial_again(moment: _Moment) -> Breaker:
    return replace(moment.breaker, trials=min(moment.policy.trials, moment.breaker.trials + 1))


def _invite(moment: _Moment) -> Breaker:
    """Trials may begin, unless the endpoint has asked for this rest itself."""
    if moment.breaker.asked and moment.now < moment.breaker.until:
        return moment.breaker
    trials = moment.policy.trials
    return replace(moment.breaker, state="half-open", trials=trials, until=moment.now, asked=False)


_NEXT: Final[Mapping[tuple[State, type[Event]], Callable[[_Moment], Breaker]]] = {
    ("closed", Succeeded): _close,
    ("closed", Failed): _count,
    ("open", Begun): _first_trial,
    ("open", Failed): _rest_longer,
    ("open", Probed): _invite,
    ("half-open", Begun): lambda moment: _trial(moment.breaker, moment),
    ("half-open", Succeeded): _close,
    ("half-open", Failed): _open,
    ("half-open", Dropped): _trial_again,
}
"""What changes a state; everything else leaves it as it is. A success while open is a straggler's,
of a request that was sent before."""
