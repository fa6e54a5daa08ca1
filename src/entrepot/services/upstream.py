"""One upstream: an endpoint's questions, asked of several endpoints until one answers.

An endpoint that cannot answer now is followed by the next one; when all have failed, they are
asked again after a pause, as often as the retry policy says. Only reads go upstream, so
repeating is harmless. A deadline is the caller's: `asyncio.timeout` around a call ends it, and what
it was doing counts for nothing.
"""

import asyncio
import random
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final, TypeVar

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import RegistryError, Unavailable
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.mirror_books import MirrorBooks
from entrepot.ports.remote_registry import RateLimit
from entrepot.ports.upstream_endpoint import ArrivingBlob, ListPage, TellsLocation, UpstreamEndpoint
from entrepot.rules.circuit_breaker import BreakerPolicy
from entrepot.rules.endpoint_choice import Selection
from entrepot.rules.retries import RetryPolicy, next_delay
from entrepot.services.upstream_attempts import Attempt, PooledBlob
from entrepot.services.upstream_history import HealthChange
from entrepot.services.upstream_pool import EndpointHealth, Member, Pool, PooledEndpoint
from entrepot.services.upstream_verdicts import UNKNOWN, WRONG_CONTENT, concerns_question, verdict
from entrepot.services.upstream_watch import PROBE_TIMEOUT, Discover, Watch

Result = TypeVar("Result")

Ask = Callable[[UpstreamEndpoint], Awaitable[Result]]

ONCE: Final = RetryPolicy(retries=0)
"""No pauses: each endpoint is asked once."""

PATIENCE: Final = RetryPolicy(retries=2, first=0.5, most=4.0, patience=5.0)
"""Pauses when all endpoints have failed. A client waits meanwhile, and asks again by itself."""

_BREAKER: Final = BreakerPolicy()


class Upstream:
    """A registry by the name it has here, with the endpoints at which it can be asked.

    `selection` says which endpoint is asked first, `breaker` when one is left out.
    `clock` counts seconds for pauses and latencies, `wall` tells the Unix time for the history;
    `random` gives a number in [0, 1). `discover` finds the endpoints anew whenever its answer
    has run out; `watch` runs it, and the probes. `probe_interval` 0 sends no probes.
    """

    def __init__(
        self,
        name: str,
        endpoints: Sequence[PooledEndpoint],
        *,
        books: MirrorBooks,
        selection: Selection = "order",
        breaker: BreakerPolicy = _BREAKER,
        retry: RetryPolicy = PATIENCE,
        probe_interval: float = 0.0,
        probe_timeout: float = PROBE_TIMEOUT,
        discover: Discover | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._books = books
        self._retry = retry
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._pool = Pool(
            name,
            endpoints,
            selection=selection,
            policy=breaker,
            books=books,
            clock=clock,
            wall=wall,
            random=random,
        )
        self._watch = Watch(
            name,
            self._pool,
            books=books,
            interval=probe_interval,
            timeout=probe_timeout,
            discover=discover,
            clock=clock,
            sleep=sleep,
        )
        self._held = 0
        self._retired = False
        self._released = asyncio.Event()
        self.used_at = clock()

    # What an endpoint can be asked.

    async def head(
        self, name: RepositoryName, reference: Tag | Digest, *, patient: bool = True
    ) -> Descriptor:
        """See `UpstreamEndpoint.head`. Who is not `patient` has something else to serve: when
        every endpoint has failed once, that is the answer."""
        retry = self._retry if patient else ONCE
        return await self._ask("head", lambda endpoint: endpoint.head(name, reference), retry)

    async def manifest(
        self, name: RepositoryName, reference: Tag | Digest
    ) -> tuple[Descriptor, bytes]:
        """See `UpstreamEndpoint.manifest`."""
        return await self._ask("manifest", lambda endpoint: endpoint.manifest(name, reference))

    async def blob_size(self, name: RepositoryName, digest: Digest) -> int:
        """See `UpstreamEndpoint.blob_size`."""
        return await self._ask("blob-size", lambda endpoint: endpoint.blob_size(name, digest))

    async def page(self, name: RepositoryName, path: str, query: str) -> ListPage:
        """See `UpstreamEndpoint.page`."""
        return await self._ask("page", lambda endpoint: endpoint.page(name, path, query))

    async def location(self, name: RepositoryName, digest: Digest) -> str | None:
        """See `TellsLocation.location`; None from an endpoint that cannot tell."""

        async def location(endpoint: UpstreamEndpoint) -> str | None:
            if not isinstance(endpoint, TellsLocation):
                return None
            return await endpoint.location(name, digest)

        return await self._ask("location", location)

    @asynccontextmanager
    async def blob(
        self,
        name: RepositoryName,
        digest: Digest,
        offset: int = 0,
        *,
        avoid: Collection[str] = (),
    ) -> AsyncIterator[PooledBlob]:
        """Ask for a blob from `offset`; yield it once an endpoint has begun to answer.

        What breaks after that is the caller's: it asks again, at the offset it has come to,
        and may `avoid` the URLs of endpoints, which are then asked last. Raising DigestInvalid or
        SizeInvalid inside the context says that the bytes were wrong.
        """

        async def opened(endpoint: UpstreamEndpoint) -> tuple[AsyncExitStack, ArrivingBlob]:
            async with AsyncExitStack() as stack:
                arriving = await stack.enter_async_context(endpoint.blob(name, digest, offset))
                return stack.pop_all(), arriving
            raise AssertionError("no context swallows errors here")

        with self.held():
            attempt, (stack, arriving) = await self._failover("blob", opened, avoid)
            with attempt.concluded():
                async with stack:
                    yield PooledBlob(arriving, attempt)

    async def heads(
        self, name: RepositoryName, tag: Tag
    ) -> Sequence[tuple[str, Descriptor | RegistryError]]:
        """Ask all healthy endpoints side by side, once; return what each has said by its URL,
        in the order of configuration. Raise what is known if none is healthy."""

        async def one(member: Member) -> tuple[str, Descriptor | RegistryError]:
            try:
                attempt, found = await self._attempt(
                    member, "head", lambda endpoint: endpoint.head(name, tag)
                )
            except RegistryError as error:
                return member.url, error
            attempt.end()
            return member.url, found

        with self.held():
            await self._watch.find()
            members = self._pool.admitted()
            if not members:
                raise verdict(self._pool.urls(), {}, self._pool.left_out())
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(one(member)) for member in members]
            return [task.result() for task in asked]

    # How it is.

    @property
    def rate_limit(self) -> RateLimit | None:
        """The budget told by the last answer that told one."""
        return self._pool.rate_limit

    @property
    def healthy(self) -> bool:
        """Whether any endpoint may be asked now."""
        return bool(self._pool.admitted())

    @property
    def busy(self) -> bool:
        """Whether anything is being asked, or it is held."""
        return self._held > 0

    def endpoints(self) -> Sequence[EndpointHealth]:
        """Return how each endpoint is, in the order of configuration."""
        return [member.health() for member in self._pool.members]

    def history(self) -> Sequence[HealthChange]:
        """Return the latest changes of the endpoints' health, oldest first."""
        return self._pool.history.changes()

    # Its life.

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the connections while the context lasts, even if it is retired meanwhile.
        Raise Unavailable if that has happened before."""
        if self._retired and not self._held:
            raise Unavailable(
                f"the upstream {self.name} has been changed or removed; ask again",
                detail={"upstream": self.name},
            )
        self._held += 1
        self.used_at = self._clock()
        try:
            yield
        finally:
            self._held -= 1
            self.used_at = self._clock()
            if not self._held:
                self._released.set()

    async def retire(self) -> None:
        """Take no new work, wait for what runs, and close all connections."""
        self._retired = True
        while self._held:
            self._released.clear()
            await self._released.wait()
        await self._pool.close()

    def refresh(self, endpoints: Sequence[PooledEndpoint]) -> None:
        """Replace the endpoints. One whose URL is known keeps its connections and its health;
        of those that are gone, what runs comes to its end first."""
        self._pool.refresh(endpoints)

    async def watch(self) -> None:
        """Probe the endpoints and look for new ones, until cancelled."""
        await self._watch.run()

    async def probe(self) -> None:
        """Ask `/v2/` of every endpoint once, side by side, but of those that want to be left
        alone."""
        await self._watch.probe()

    # How it asks.

    async def _ask(
        self, operation: str, ask: Ask[Result], retry: RetryPolicy | None = None
    ) -> Result:
        with self.held():
            attempt, result = await self._failover(operation, ask, retry=retry)
            attempt.end()
            return result

    async def _failover(
        self,
        operation: str,
        ask: Ask[Result],
        avoid: Collection[str] = (),
        *,
        retry: RetryPolicy | None = None,
    ) -> tuple[Attempt, Result]:
        """Ask one endpoint after the other, and all again after a pause, until one answers."""
        await self._watch.find()
        said: dict[str, RegistryError] = {}
        rounds = 0
        while True:
            rounds += 1
            for member in self._pool.ranked(avoid):
                if member.url in said and not member.may_pass(said[member.url]):
                    continue
                if not member.admitted():  # it was, before another was asked
                    continue
                try:
                    return await self._attempt(member, operation, ask)
                except RegistryError as error:
                    said[member.url] = error
                    if concerns_question(error) or self._settles(error):
                        raise
            pause = self._pause(rounds, said, retry or self._retry)
            if pause is None:
                raise verdict(self._pool.urls(), said, self._pool.left_out())
            await self._sleep(pause)

    async def _attempt(
        self, member: Member, operation: str, ask: Ask[Result]
    ) -> tuple[Attempt, Result]:
        attempt = Attempt(self.name, member, operation, self._books, self._clock)
        try:
            result = await ask(member.endpoint)
        except RegistryError as error:
            attempt.end(error)
            if isinstance(error, WRONG_CONTENT):
                # Another endpoint may be right, and then nobody else hears of it.
                self._books.noted("upstream.lied", self.name, f"{member.url}: {error.message}")
            raise
        except BaseException:
            attempt.drop()
            raise
        finally:
            self._pool.note_budget(member)
        attempt.answered()
        return attempt, result

    def _settles(self, error: RegistryError) -> bool:
        """With endpoints that are equal, what one has not none has; in an order, one that is
        nearer may lack what the origin has."""
        return isinstance(error, UNKNOWN) and not self._pool.in_order

    def _pause(
        self, rounds: int, said: Mapping[str, RegistryError], retry: RetryPolicy
    ) -> float | None:
        """Return how long to wait before asking again; None if that would be in vain."""
        waiting = [
            member
            for member in self._pool.members
            if member.url not in said or member.may_pass(said[member.url])
        ]
        rests = [member.admitted_in() for member in waiting]
        if not rests:
            return None
        soonest = min(rests)
        return next_delay(retry, rounds, self._random(), soonest or None)
