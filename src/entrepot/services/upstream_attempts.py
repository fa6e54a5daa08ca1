"""Attempts: one question to one endpoint, and what becomes of it in the books and the pool."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from entrepot.oci.errors import RegistryError
from entrepot.ports.image_end import Sink
from entrepot.ports.mirror_books import MirrorBooks
from entrepot.ports.upstream_endpoint import ArrivingBlob, UpstreamEndpoint
from entrepot.services.upstream_pool import Member
from entrepot.services.upstream_verdicts import WRONG_CONTENT


class Attempt:
    """Begins when it is made and must be brought to one end: `end`, `drop` or `concluded`."""

    def __init__(
        self,
        upstream: str,
        member: Member,
        operation: str,
        books: MirrorBooks,
        clock: Callable[[], float],
    ) -> None:
        self._upstream = upstream
        self._member = member
        self._operation = operation
        self._books = books
        self._clock = clock
        self._began = clock()
        self._open = True
        member.began()

    @property
    def url(self) -> str:
        """The endpoint's URL."""
        return self._member.url

    @property
    def endpoint(self) -> UpstreamEndpoint:
        """Whom to ask."""
        return self._member.endpoint

    def answered(self) -> None:
        """Say that the answer has begun: the endpoint is there, and this is how fast it is."""
        self._member.answered(self._clock() - self._began)

    def end(self, error: RegistryError | None = None) -> None:
        """End it well, or with an error; what comes after the end changes nothing."""
        if not self._open:
            return
        self._open = False
        seconds = self._clock() - self._began
        outcome = error.code if error else "ok"
        self._books.exchanged(self._upstream, self.url, self._operation, outcome, seconds)
        if error is None:
            self._member.succeeded()
        else:
            self._member.failed(error, seconds)

    def drop(self) -> None:
        """End it as if it had not been: who asked has gone."""
        if self._open:
            self._open = False
            self._member.dropped()

    @contextmanager
    def concluded(self) -> Iterator[None]:
        """End it with what comes out of the context: wrong content counts against the endpoint, a
        cancellation for nothing, and all else is not its fault."""
        try:
            yield
        except WRONG_CONTENT as error:
            self.end(error)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            self.drop()
            raise
        except BaseException:
            self.end()
            raise
        self.end()


class PooledBlob:
    """An `ArrivingBlob`, and the `url` of the endpoint that it comes from."""

    def __init__(self, arriving: ArrivingBlob, attempt: Attempt) -> None:
        self._arriving = arriving
        self._attempt = attempt

    @property
    def url(self) -> str:
        return self._attempt.url

    @property
    def start(self) -> int:
        return self._arriving.start

    @property
    def size(self) -> int | None:
        return self._arriving.size

    async def pour(self, sink: Sink) -> None:
        """See `ArrivingBlob.pour`."""
        refused: list[BaseException] = []

        def taking(piece: memoryview) -> None:
            try:
                sink(piece)
            except BaseException as error:
                refused.append(error)  # a full disk here is no fault of the endpoint
                raise

        try:
            await self._arriving.pour(taking)
        except RegistryError as error:
            if not refused:
                self._attempt.end(error)
            raise

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `ArrivingBlob.chunks`."""
        try:
            async for chunk in self._arriving.chunks():
                yield chunk
        except RegistryError as error:
            self._attempt.end(error)
            raise
