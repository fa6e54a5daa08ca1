"""Repeating requests: the waiting that `rules/retries` decides on."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from entrepot.adapters.remotes.exchange import Response
from entrepot.oci.errors import RegistryError
from entrepot.protocol.rate_limits import parse_rate_limit, parse_retry_after
from entrepot.rules.retries import TRANSIENT, RetryPolicy, is_hopeless, next_delay


class Retries:
    """Waits between attempts. `sleep` takes seconds, `random` gives a number in [0, 1)."""

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.policy = policy
        self._sleep = sleep
        self._random = random

    async def pause(self, failures: int, error: RegistryError, asked: float | None = None) -> None:
        """Wait after the `failures`-th failure (from 1); raise `error` if it was the last.

        `asked` is how many seconds the registry wants to be left alone.
        """
        delay = next_delay(self.policy, failures, self._random(), asked)
        if delay is None:
            raise error
        await self._sleep(delay)

    def goes_on(self, failures: int, asked: float | None = None) -> bool:
        """Say whether `pause` would wait."""
        return next_delay(self.policy, failures, 0.0, asked) is not None

    def may_pass(self, response: Response) -> bool:
        """Say whether the same request may succeed after this answer, within our patience."""
        if response.status not in TRANSIENT:
            return False
        budget = parse_rate_limit(response.headers)
        if budget is None or "retry-after" in response.headers:
            return True
        return not is_hopeless(budget.remaining, budget.window, self.policy)


def asked_pause(response: Response, now: float) -> float | None:
    """Return how many seconds the registry asks to wait; `now` counts from the Unix epoch."""
    return parse_retry_after(response.headers.get("retry-after", ""), now)
