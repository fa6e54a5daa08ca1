"""Request bodies on their way: from the caller's iterator to libcurl, at the network's pace."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, Final

import pycurl

from entrepot.adapters.remotes.exchange import Body
from entrepot.adapters.remotes.transport_lane import Turn
from entrepot.oci.errors import SizeInvalid

AHEAD: Final = 1024 * 1024
"""Bytes that are asked of the iterator before the network has taken them."""


class BlockFeed:
    """A body that the thread which sends it reads block by block; as with `BodyFeed`, the last
    block waits until all has been read without an error.

    `taken` counts bytes, `busy` says that the reading is at work, `failure` is what it raised.
    """

    def __init__(self, length: int, blocks: Generator[bytes, None, None], turn: Turn) -> None:
        self._length = length
        self._turn = turn
        self._blocks = blocks
        self._current = memoryview(b"")
        self._given_up = False
        self.answered = False
        """The answer's head is there: no thread is needed any more."""
        self.taken = 0
        self.busy = False
        self.failure: BaseException | None = None

    @property
    def stopped(self) -> bool:
        """Whether the thread is to end."""
        return self._given_up or self.answered

    def stop(self) -> None:
        """Give nothing more. From any thread."""
        self._given_up = True

    def take(self, size: int) -> Any:
        """Give libcurl up to `size` bytes, or the order to end."""
        if not self._current and not self._given_up:
            self.busy = True
            try:
                with self._turn.left():
                    self._current = memoryview(self._next())
            except BaseException as error:
                self.failure = error
                self._given_up = True
            finally:
                self.busy = False
        if self._given_up:
            return pycurl.READFUNC_ABORT
        piece = self._current[:size]
        self._current = self._current[size:]
        self.taken += len(piece)
        return piece

    def look(self) -> None:
        """Nothing waits here."""

    def finish(self) -> None:
        """Nothing is left to do in the thread."""

    def close(self) -> None:
        """Close what the body is read from, when no thread drives the transfer."""
        self._blocks.close()

    def _next(self) -> bytes:
        block = next(self._blocks, b"")
        found = self.taken + len(block)
        if not block and found < self._length:
            raise _too_short(found, self._length)
        if found >= self._length:
            found += sum(map(len, self._blocks))
        if found > self._length:
            raise _too_long(self._length)
        return block


class BodyFeed:
    """Reads a body ahead by a little in a task of its own; libcurl takes from it.

    The last chunk is held back until the iterator has ended: one that ends in an error, such as
    a digest that does not match, must not have sent a body that looks whole.
    `resume` is called when libcurl was told to wait and need wait no longer, `failed` with
    what the iterator raised.
    """

    def __init__(
        self,
        body: Body,
        resume: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._length = body.length
        self._resume = resume
        self._failed = failed
        self._chunks: deque[memoryview] = deque()
        self._held = 0
        self._current = memoryview(b"")
        self._room = asyncio.Event()
        self._ended = False
        self.starved = False
        """libcurl waits for a chunk."""
        self._task = asyncio.get_running_loop().create_task(self._read(body.open()))

    def take(self, size: int) -> Any:
        """Give libcurl up to `size` bytes, nothing at the end, or the order to wait."""
        if not self._current:
            if not self._chunks:
                if self._ended:
                    return b""
                self.starved = True
                return pycurl.READFUNC_PAUSE
            self._current = self._chunks.popleft()
            self._held -= len(self._current)
            self._room.set()
        piece = self._current[:size]
        self._current = self._current[size:]
        return piece

    async def stop(self) -> None:
        """End the reading; the iterator is closed when this returns."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _read(self, chunks: AsyncIterator[bytes]) -> None:
        try:
            try:
                await self._read_all(chunks)
            finally:
                close = getattr(chunks, "aclose", None)
                if close is not None:
                    await close()
        except Exception as error:
            self._failed(error)

    async def _read_all(self, chunks: AsyncIterator[bytes]) -> None:
        total = 0
        last: bytes = b""
        async for chunk in chunks:
            total += len(chunk)
            if total > self._length:
                raise _too_long(self._length)
            if total == self._length:
                last = last + chunk if last else chunk
            elif chunk:
                await self._offer(chunk)
        if total < self._length:
            raise _too_short(total, self._length)
        await self._offer(last, ends=True)

    async def _offer(self, chunk: bytes, *, ends: bool = False) -> None:
        while self._held >= AHEAD:
            self._room.clear()
            await self._room.wait()
        if chunk:
            self._chunks.append(memoryview(chunk))
            self._held += len(chunk)
        self._ended = ends
        if self.starved:
            self.starved = False
            self._resume()


def _too_long(announced: int) -> SizeInvalid:
    return SizeInvalid(
        f"the content to send is longer than the {announced} bytes announced; "
        "it changed while it was read, so try again"
    )


def _too_short(found: int, announced: int) -> SizeInvalid:
    return SizeInvalid(
        f"the content to send ended after {found} of {announced} bytes; "
        "it changed while it was read, so try again"
    )
