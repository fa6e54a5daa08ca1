"""Freshness: when a cached tag is served unasked, when it is confirmed first, and what is served
when the upstream cannot be asked or its endpoints disagree.

    mode     unknown here   known here
    always   fetch          revalidate
    ttl      fetch          serve while it is young enough, then revalidate
    never    fetch          serve
    off      pass_on        pass_on

Below the rate limit's floor what is known is served in all modes but `off`. Content under a
digest is none of this room's business: it is always fresh.
"""

from collections.abc import Collection, Sequence
from typing import Final, Literal, TypeVar

from entrepot.oci import errors

Mode = Literal["always", "ttl", "never", "off"]
Decision = Literal["serve", "revalidate", "fetch", "pass_on"]
ConflictRule = Literal["order", "newest", "pin"]

Answer = TypeVar("Answer")

USUAL_WINDOW: Final = 3600
"""Seconds that a budget is taken to last where a registry does not tell."""

_NO_ANSWER: Final = (
    errors.Unavailable,
    errors.TooManyRequests,
    errors.Unauthorized,
    errors.Denied,
    TimeoutError,
)
_NO_SENSE: Final = (
    errors.DigestInvalid,
    errors.ManifestInvalid,
    errors.SizeInvalid,
    errors.ContentInvalid,
    errors.Unsupported,
)


def decide(
    mode: Mode, age: float | None, ttl: float, *, remaining: float | None = None, floor: int = 0
) -> Decision:
    """Say what to do about a tag that a client asks for.

    `age` are the seconds since the upstream last confirmed the tag, None if it is not cached;
    `ttl` the seconds that mode `ttl` believes it. `remaining` are the requests that the upstream
    still allows (see `requests_left`), None if that is not known; below `floor` it is not asked
    about what is cached.
    """
    if mode == "off":
        return "pass_on"
    if age is None:
        return "fetch"
    spared = remaining is not None and remaining < floor
    # A negative age is a clock that went back: nobody knows how old the tag is.
    young = mode == "ttl" and 0 <= age < ttl
    return "serve" if mode == "never" or young or spared else "revalidate"


def requests_left(
    remaining: int | None, elapsed: float, *, limit: int | None = None, window: int | None = None
) -> float | None:
    """Return how many requests an upstream allows now that told of `remaining` ones `elapsed`
    seconds ago; None if that says nothing any more.

    Its budget of `limit` per `window` seconds is taken to grow back evenly. Without that, whoever
    once saw it low would never ask again, and never learn that it is full.
    """
    window = window or USUAL_WINDOW
    if remaining is None or elapsed >= window:
        return None
    most = max(limit or 0, remaining)
    return min(most, remaining + most * max(0.0, elapsed) / window)


def may_serve_stale(error: BaseException) -> bool:
    """Say whether what is cached is served although the upstream was asked and gave `error`.

    It is where the upstream cannot be asked, will not answer, or talks nonsense; not where it
    has answered that it has this no longer.
    """
    return isinstance(error, _NO_ANSWER + _NO_SENSE)


def conflict(
    rule: ConflictRule,
    cached: Answer | None,
    answers: Sequence[Answer],
    *,
    seen: Collection[Answer] = (),
) -> tuple[Answer, bool]:
    """Return which digest counts for a tag, and whether the endpoints have diverged.

    `answers` are the digests that endpoints gave, in the endpoints' order; `cached` is the one
    known before, and `seen` are those that the tag's repository was known to have at all. `order`
    takes the first answer; `newest` the first that was never seen, for who says another may lag
    behind, else the cached one as long as anybody says it (or two that never agree would take
    turns); `pin` what was cached first. Endpoints have diverged if they disagree, or if none of
    them has what is chosen. Raise ValueError if there is neither an answer nor anything cached.
    """
    told = list(answers)
    if not told:
        if cached is None:
            raise ValueError("neither an answer nor anything cached")
        return cached, False
    chosen = told[0]
    if rule == "newest":
        usual = cached if cached is not None and cached in told else chosen
        known = (cached, *seen)
        chosen = next((answer for answer in told if answer not in known), usual)
    elif rule == "pin" and cached is not None:
        chosen = cached
    return chosen, any(answer != chosen for answer in told)


def age_header(checked_at: float, now: float) -> int:
    """Return the value of `Age` (RFC 9111, section 5.1): whole seconds since the upstream last
    confirmed what is served, never negative."""
    return max(0, int(now - checked_at))


def absent_until(now: float, negative_ttl: float) -> float | None:
    """Return until when an upstream need not be asked again for what it has not (Unix seconds);
    None if that is not to be remembered."""
    return now + negative_ttl if negative_ttl > 0 else None


def is_absent(until: float | None, now: float, negative_ttl: float) -> bool:
    """Say whether what an upstream had not is still taken to be absent.

    One that lies further ahead than `negative_ttl` was noted before the clock went back, or by a
    longer rule than now: it is not believed.
    """
    return until is not None and now < until <= now + negative_ttl
