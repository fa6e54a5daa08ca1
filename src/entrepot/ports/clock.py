"""Time as an argument, so that leases and expiry can be tested without waiting."""

from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Return the wall-clock time in seconds since the Unix epoch."""
        ...
