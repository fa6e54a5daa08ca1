"""Retries: which failed requests to a registry are sent again, and after how long.

Waiting times grow exponentially with full jitter, so clients that failed together do not come
back together. A registry that names a time is obeyed, up to the caller's patience.
"""

from dataclasses import dataclass
from typing import Final

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
"""Methods that may be repeated without harm (RFC 9110, 9.2.2)."""

TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Up to `retries` repetitions; the first after at most `first` seconds, each later one after
    at most twice as long, never more than `most`. A registry may ask for up to `patience`."""

    retries: int = 5
    first: float = 0.5
    most: float = 20.0
    patience: float = 60.0


def next_delay(
    policy: RetryPolicy, failures: int, random: float, asked: float | None = None
) -> float | None:
    """Return the seconds to wait after the `failures`-th failure (from 1); None to give up.

    `random` is in [0, 1); `asked` is what Retry-After said, to which a little jitter is added.
    """
    if failures > policy.retries:
        return None
    if asked is not None:
        return asked + random * policy.first if asked <= policy.patience else None
    return random * min(policy.most, policy.first * 2.0 ** min(failures - 1, 30))


def is_hopeless(remaining: int | None, window: int | None, policy: RetryPolicy) -> bool:
    """Say whether a budget is used up for longer than anybody would wait."""
    return remaining == 0 and window is not None and window > policy.patience
