"""History: when each endpoint of an upstream was there, and why it was not."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["closed", "open", "half-open"]
"""A circuit breaker's state: `closed` is healthy, `open` left out, `half-open` on trial."""

KEPT: Final = 256
_LONGEST_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class HealthChange:
    """An endpoint's state has changed at `at` (Unix seconds), for `reason`, a text for people."""

    at: float
    endpoint: str
    state: State
    reason: str


class HealthHistory:
    """The latest changes of all endpoints of an upstream; older ones are dropped."""

    def __init__(self, kept: int = KEPT) -> None:
        self._changes: deque[HealthChange] = deque(maxlen=kept)

    def add(self, at: float, endpoint: str, state: State, reason: str) -> None:
        """Note a change."""
        self._changes.append(HealthChange(at, endpoint, state, reason[:_LONGEST_REASON]))

    def changes(self) -> Sequence[HealthChange]:
        """Return the changes, oldest first."""
        return tuple(self._changes)
