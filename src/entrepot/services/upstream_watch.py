"""The watch over one upstream's endpoints: probes in the background, and discovery of new ones."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from entrepot.oci.errors import ConnectionLost, RegistryError
from entrepot.ports.mirror_books import MirrorBooks
from entrepot.services.upstream_pool import Member, Pool, PooledEndpoint

PROBE_TIMEOUT: Final = 5.0
_DISCOVERY_PAUSE: Final = 10.0
_SHORTEST_TTL: Final = 1.0


@dataclass(frozen=True, slots=True)
class Discovered:
    """Endpoints that were found, and for how many seconds that holds."""

    endpoints: Sequence[PooledEndpoint]
    ttl: float


Discover = Callable[[], Awaitable[Discovered]]
"""Finds endpoints. May raise HostUnknown, Unavailable."""


class Watch:
    """Probes every `interval` seconds (0: never), each for `timeout` seconds at most, and asks
    `discover` again whenever its answer has run out."""

    def __init__(
        self,
        upstream: str,
        pool: Pool,
        *,
        books: MirrorBooks,
        interval: float,
        timeout: float,
        discover: Discover | None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._upstream = upstream
        self._pool = pool
        self._books = books
        self._interval = interval
        self._timeout = timeout
        self._discover = discover
        self._clock = clock
        self._sleep = sleep
        self._finding = asyncio.Lock()

    async def find(self) -> None:
        """Find endpoints where none are known yet, so that the first question need not wait for
        the watch. Raise what `discover` raises."""
        if self._discover is None or self._pool.members:
            return
        async with self._finding:
            if not self._pool.members:
                found = await self._discover()
                self._pool.refresh(found.endpoints)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._interval > 0:
                group.create_task(self._probing())
            if self._discover is not None:
                group.create_task(self._discovering(self._discover))

    async def probe(self) -> None:
        """Ask `/v2/` of every endpoint once, side by side, but of those that want to be left
        alone."""
        async with asyncio.TaskGroup() as group:
            for member in self._pool.probeable():
                group.create_task(self._probe(member))

    async def _probing(self) -> None:
        while True:
            await self._sleep(self._interval)
            await self.probe()

    async def _probe(self, member: Member) -> None:
        began = self._clock()
        failure: RegistryError | None = None
        try:
            async with asyncio.timeout(self._timeout):
                await member.endpoint.ping()
        except TimeoutError:
            failure = ConnectionLost(
                f"{member.url} does not answer within {self._timeout:g} s; check the network"
            )
        except RegistryError as error:
            failure = error
        outcome = failure.code if failure else "ok"
        seconds = self._clock() - began
        self._books.exchanged(self._upstream, member.url, "ping", outcome, seconds)
        member.probed(failure)

    async def _discovering(self, discover: Discover) -> None:
        while True:
            try:
                found = await discover()
            except RegistryError as error:
                # What was found before is still better than nothing.
                self._books.noted("upstream.undiscovered", self._upstream, error.message)
                await self._sleep(_DISCOVERY_PAUSE)
                continue
            self._pool.refresh(found.endpoints)
            await self._sleep(max(found.ttl, _SHORTEST_TTL))
