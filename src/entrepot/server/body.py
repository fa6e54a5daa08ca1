"""A request body between the protocol that receives it and the handler that reads it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from entrepot.web.message import BodyIncomplete

HIGH_WATER: Final = 1024 * 1024
LOW_WATER: Final = 256 * 1024


class ReceivedBody:
    """Chunks that have arrived and not been read. One reader, one writer, one event loop.

    `on_start` runs when reading begins (HTTP/1: send `100 Continue`), `on_full` when the buffer
    is above its high-water mark, and `on_read(n)` after `n` bytes were taken out of it.
    """

    __slots__ = (
        "_buffered",
        "_chunks",
        "_complete",
        "_error",
        "_on_full",
        "_on_read",
        "_on_start",
        "_waiter",
        "length",
        "started",
    )

    def __init__(
        self,
        length: int | None,
        *,
        on_start: Callable[[], None],
        on_full: Callable[[], None],
        on_read: Callable[[int], None],
    ) -> None:
        self.length = length
        self.started = False
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._complete = False
        self._error: BodyIncomplete | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._on_start = on_start
        self._on_full = on_full
        self._on_read = on_read

    @property
    def complete(self) -> bool:
        """Whether the last byte has arrived (it may not have been read)."""
        return self._complete

    @property
    def buffered(self) -> int:
        """Bytes that have arrived and not been read."""
        return self._buffered

    @property
    def waiting(self) -> bool:
        """Whether a reader waits for the client."""
        return self._waiter is not None

    def feed(self, chunk: bytes) -> None:
        """Add a chunk that has arrived."""
        self._chunks.append(chunk)
        self._buffered += len(chunk)
        if self._buffered > HIGH_WATER:
            self._on_full()
        self._wake()

    def finish(self) -> None:
        """Note that the body is whole."""
        self._complete = True
        self._wake()

    def fail(self, error: BodyIncomplete) -> None:
        """Note that the rest will never come, and why."""
        if not self._complete and self._error is None:
            self._error = error
            self._wake()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what arrives, in order, until the body is whole."""
        if not self.started:
            self.started = True
            self._on_start()
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._buffered -= len(chunk)
                self._on_read(len(chunk))
                yield chunk
            if self._complete:
                return
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def discard(self) -> None:
        """Drop what has arrived: nobody will read it."""
        dropped, self._buffered = self._buffered, 0
        self._chunks.clear()
        if dropped:
            self._on_read(dropped)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
