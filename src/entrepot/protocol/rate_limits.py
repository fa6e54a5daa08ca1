"""Rate limits as registries tell them in headers: how much is left, and when to come again.

Three dialects are read: Docker Hub's (`ratelimit-limit: 100;w=21600`, `ratelimit-remaining`,
`docker-ratelimit-source`), the IETF's drafts (`RateLimit`, `RateLimit-Policy`) and the older
`X-RateLimit-*` of GitHub and many gateways. `Retry-After` is RFC 9110, section 10.2.3.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_LIMITS: Final = ("ratelimit-limit", "x-ratelimit-limit", "x-rate-limit-limit")
_REMAINS: Final = ("ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining")


@dataclass(frozen=True, slots=True)
class Budget:
    """`limit` requests per `window` seconds, `remaining` of them left, counted for `source`.

    What the registry does not tell is None.
    """

    limit: int | None = None
    remaining: int | None = None
    window: int | None = None
    source: str | None = None


def parse_rate_limit(headers: Mapping[str, str]) -> Budget | None:
    """Read the budget in header fields, by lower-case names; None if they tell neither a limit
    nor what remains. What is malformed counts as not told."""
    limits = next((headers[name] for name in _LIMITS if name in headers), "")
    remains = next((headers[name] for name in _REMAINS if name in headers), "")
    policy, state = headers.get("ratelimit-policy", ""), headers.get("ratelimit", "")
    limit = _first(_leading(limits), _parameter(policy, "q"), _parameter(state, "limit"))
    remaining = _first(_leading(remains), _parameter(state, "r"), _parameter(state, "remaining"))
    if limit is None and remaining is None:
        return None
    window = _first(*(_parameter(text, "w") for text in (limits, remains, policy)))
    return Budget(limit, remaining, window, headers.get("docker-ratelimit-source") or None)


def parse_retry_after(value: str, now: float) -> float | None:
    """Return how many seconds to wait, never negative; None if the value tells nothing.

    `now` is seconds since the Unix epoch: the value is a number of seconds or a date.
    """
    if _NUMBER.fullmatch(value.strip()):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _leading(text: str) -> int | None:
    """Return the number that a value starts with: `100`, `100;w=60` or `100, 200;w=60`."""
    return _number(re.split(r"[;,]", text, maxsplit=1)[0])


def _parameter(text: str, name: str) -> int | None:
    """Return the first parameter of that name."""
    for part in re.split(r"[;,]", text):
        key, equals, value = part.partition("=")
        if equals and key.strip().lower() == name:
            return _number(value)
    return None


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text := text.strip()) else None


def _first(*numbers: int | None) -> int | None:
    return next((number for number in numbers if number is not None), None)
