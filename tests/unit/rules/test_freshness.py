"""When a tag is served, confirmed or fetched (CA-02), and what was absent stays so (CA-06)."""

import pytest

from entrepot.oci import errors
from entrepot.rules.freshness import (
    ConflictRule,
    Decision,
    Mode,
    absent_until,
    age_header,
    conflict,
    decide,
    is_absent,
    may_serve_stale,
    requests_left,
)

TTL = 300.0


@pytest.mark.parametrize(
    ("mode", "age", "decision"),
    [
        ("always", None, "fetch"),
        ("always", 0.0, "revalidate"),
        ("always", 1e9, "revalidate"),
        ("ttl", None, "fetch"),
        ("ttl", 0.0, "serve"),
        ("ttl", 299.9, "serve"),
        ("ttl", 300.0, "revalidate"),
        ("ttl", -1.0, "revalidate"),  # the clock went back: nobody knows how old it is
        ("never", None, "fetch"),
        ("never", 1e9, "serve"),
        ("off", None, "pass_on"),
        ("off", 0.0, "pass_on"),
    ],
)
def test_each_mode_at_each_age(mode: Mode, age: float | None, decision: Decision) -> None:
    """CA-02: tags are confirmed as the operator wants it."""
    assert decide(mode, age, TTL) == decision


@pytest.mark.parametrize(
    ("mode", "age", "remaining", "decision"),
    [
        ("always", 9.0, 9, "serve"),
        ("always", 9.0, 10, "revalidate"),
        ("always", 9.0, 0, "serve"),
        ("always", 9.0, None, "revalidate"),
        ("always", None, 0, "fetch"),  # there is nothing else to serve
        ("ttl", 301.0, 9, "serve"),
        ("ttl", 301.0, 10, "revalidate"),
        ("off", 9.0, 0, "pass_on"),
    ],
)
def test_below_the_floor_nothing_is_asked_about_what_is_known(
    mode: Mode, age: float | None, remaining: int | None, decision: Decision
) -> None:
    assert decide(mode, age, TTL, remaining=remaining, floor=10) == decision


@pytest.mark.parametrize(
    ("elapsed", "left"),
    [(0, 4), (-50, 4), (216, 5), (1296, 10), (21_599, 100), (21_600, None), (1e9, None)],
)
def test_a_budget_grows_back_evenly(elapsed: float, left: float | None) -> None:
    """Hub's 100 requests per six hours, of which 4 were left."""
    assert requests_left(4, elapsed, limit=100, window=21_600) == left


def test_a_budget_that_is_not_told_whole() -> None:
    assert requests_left(None, 5, limit=100, window=60) is None
    assert requests_left(0, 3599) == 0
    assert requests_left(0, 3600) is None
    assert requests_left(200, 30, limit=100, window=60) == 200


@pytest.mark.parametrize(
    "error",
    [
        errors.Unavailable("503"),
        errors.ConnectionLost("refused"),
        errors.HostUnknown("no DNS"),
        errors.CertificateRefused("expired"),
        errors.StoreFull("no room for what is new"),
        errors.TooManyRequests("429"),
        errors.Unauthorized("401"),
        errors.Denied("403"),
        errors.Unsupported("405"),
        errors.DigestInvalid("other bytes"),
        errors.ManifestInvalid("a login page"),
        errors.ManifestTooLarge("endless"),
        errors.SizeInvalid("too short"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_cannot_be_asked_does_not_take_the_cached_away(error: Exception) -> None:
    """CA-02: slow, limited, lying or gone, the last digest is served."""
    assert may_serve_stale(error)


@pytest.mark.parametrize(
    "error",
    [
        errors.ManifestUnknown("404"),
        errors.NameUnknown("404"),
        errors.BlobUnknown("404"),
        errors.ManifestBlobUnknown("404"),
        KeyError("our own mistake"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_upstream_has_no_longer_is_not_served(error: Exception) -> None:
    """CA-02: a 404 is an answer."""
    assert not may_serve_stale(error)


@pytest.mark.parametrize(
    ("rule", "cached", "answers", "chosen", "diverged"),
    [
        ("order", None, "a", "a", False),
        ("order", "a", "b", "b", False),  # the tag has moved: nobody disagrees
        ("order", "a", "ba", "b", True),
        ("order", "b", "ab", "a", True),
        ("newest", None, "ab", "a", True),
        ("newest", "a", "aa", "a", False),
        ("newest", "a", "ab", "b", True),
        ("newest", "a", "abc", "b", True),
        ("newest", "a", "bb", "b", False),
        ("pin", None, "ab", "a", True),
        ("pin", "a", "ab", "a", True),
        ("pin", "a", "bb", "a", True),
        ("pin", "a", "aa", "a", False),
        ("order", "a", "", "a", False),
        ("newest", "a", "", "a", False),
        ("pin", "a", "", "a", False),
    ],
)
def test_which_digest_counts_when_endpoints_disagree(
    rule: ConflictRule, cached: str | None, answers: str, chosen: str, diverged: bool
) -> None:
    """CA-02: conflict resolution, and divergence is told."""
    assert conflict(rule, cached, answers) == (chosen, diverged)


def test_nothing_known_and_nothing_said_is_no_question() -> None:
    with pytest.raises(ValueError, match="neither"):
        conflict("order", None, [])


@pytest.mark.parametrize(("now", "age"), [(1000.0, 0), (1000.9, 0), (1061.0, 61), (900.0, 0)])
def test_age_is_whole_seconds_and_never_negative(now: float, age: int) -> None:
    assert age_header(1000.0, now) == age


def test_what_was_absent_is_asked_for_again_after_its_time() -> None:
    """CA-06: the negative cache ends by itself."""
    until = absent_until(1000.0, 10.0)
    assert is_absent(until, 1000.0, 10.0)
    assert is_absent(until, 1009.9, 10.0)
    assert not is_absent(until, 1010.0, 10.0)
    assert not is_absent(until, 500.0, 10.0)  # the clock went back
    assert not is_absent(None, 1000.0, 10.0)
    assert absent_until(1000.0, 0.0) is None


def test_two_that_never_agree_do_not_take_turns() -> None:
    """By `newest`, the cached answer stays until one comes that was never seen."""
    assert conflict("newest", "b", ["a", "b"], seen=["a", "b"]) == ("b", True)
    assert conflict("newest", "b", ["c", "b"], seen=["a", "b"]) == ("c", True)
    assert conflict("newest", "b", ["a", "a"], seen=["a", "b"]) == ("a", False)
