"""Budgets: how many requests each upstream is believed to allow now, by what it told last."""

from entrepot.ports.remote_registry import RateLimit
from entrepot.rules.freshness import requests_left


class RequestBudgets:
    """What upstreams have told of their limits, and when it was told anew. Times are Unix
    seconds."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[RateLimit, float]] = {}

    def note(self, upstream: str, told: RateLimit | None, now: float) -> None:
        """Remember what an upstream has told, if it is something new."""
        known = self._told.get(upstream)
        if told is not None and (known is None or known[0] != told):
            self._told[upstream] = told, now

    def left(self, upstream: str, now: float) -> float | None:
        """Return how many requests are left by now, None if nobody knows."""
        known = self._told.get(upstream)
        if known is None:
            return None
        told, since = known
        return requests_left(
            told.remaining, max(0.0, now - since), limit=told.limit, window=told.window
        )
