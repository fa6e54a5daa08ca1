"""Hashing that trails behind a reader: chunks are hashed in a thread while the reader goes on, and
earlier states of the hash are kept, so that it can go on from where a transfer broke off."""

import asyncio
from bisect import bisect_right
from collections import deque
from threading import Lock
from typing import Final

from entrepot.oci.digest import Hasher

_INLINE: Final = 32 << 10
"""Chunks up to this many bytes are hashed at once: a thread would take longer to wake."""

_MOST: Final = 3
"""How many chunks may wait; the reader goes on when one is left, so that nobody idles."""

_DENSE: Final = 64
"""How many of the newest states of a hash are kept, and in about how many parts the content is
cut by the older ones (some 500 bytes each)."""


class HashMarks:
    """States of a hash by offset: the newest `_DENSE`, and before them one in a while."""

    def __init__(self, algorithm: str, size: int) -> None:
        self._stride = size // _DENSE
        self._offsets = [0]
        self._states = [Hasher(algorithm)]
        self._resumed: int | None = None

    def add(self, offset: int, state: Hasher) -> None:
        """Keep the state behind the byte before `offset`."""
        if self._resumed is not None:
            if offset <= self._resumed:
                return
            behind = bisect_right(self._offsets, self._resumed)
            del self._offsets[behind:], self._states[behind:]
            self._resumed = None
        self._offsets.append(offset)
        self._states.append(state)
        ages = len(self._offsets) - _DENSE - 1
        if ages > 0 and self._offsets[ages] - self._offsets[ages - 1] < self._stride:
            del self._offsets[ages], self._states[ages]

    def __len__(self) -> int:
        return len(self._offsets)

    def before(self, offset: int) -> tuple[int, Hasher] | None:
        """Return the last state at or before `offset`, None if that has not been reached.

        What is added next goes on from `offset`: states beyond are of bytes that do not count.
        """
        if offset > self._offsets[-1]:
            return None
        self._resumed = offset
        mark = bisect_right(self._offsets, offset) - 1
        return self._offsets[mark], self._states[mark].copy()

    def restart(self) -> None:
        """Forget all but the beginning."""
        del self._offsets[1:], self._states[1:]
        self._resumed = None


class TrailingHash:
    """The hash of one content of `size` bytes, as far as it has been read, and its `marks`.

    Used by one reader at a time. Jobs run in the event loop's own threads, one at a time.
    """

    def __init__(self, algorithm: str, size: int) -> None:
        self.marks = HashMarks(algorithm, size)
        self._chunks: deque[tuple[Hasher, bytes, int]] = deque()
        self._running = False
        self._lock = Lock()
        self._waiting: tuple[int, asyncio.Future[None]] | None = None

    async def add(self, hasher: Hasher, chunk: bytes, end: int) -> None:
        """Have a chunk that ends at `end` hashed; wait only if too many are waiting for it."""
        if len(chunk) <= _INLINE and not self._running:
            self._hash(hasher, chunk, end)
            return
        loop = asyncio.get_running_loop()
        with self._lock:
            self._chunks.append((hasher, chunk, end))
            starts, self._running = not self._running, True
            full = len(self._chunks) >= _MOST
        if starts:
            loop.run_in_executor(None, self._run, loop)
        if full:
            await self._until(1)

    async def done(self) -> None:
        """Wait until all is hashed."""
        await self._until(0)

    async def _until(self, left: int) -> None:
        """Wait until at most `left` chunks wait; with none, until the last is hashed too."""
        with self._lock:
            if not self._running or 0 < len(self._chunks) <= left:
                return
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting = left, waiting
        await waiting

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            with self._lock:
                self._running = bool(self._chunks)
                # A chunk that was taken out is done by now; without any left so are all.
                if self._waiting and len(self._chunks) <= self._waiting[0]:
                    loop.call_soon_threadsafe(_wake, self._waiting[1])
                    self._waiting = None
                if not self._running:
                    return
                job = self._chunks.popleft()
            self._hash(*job)

    def _hash(self, hasher: Hasher, chunk: bytes, end: int) -> None:
        hasher.update(chunk)
        self.marks.add(end, hasher.copy())


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
