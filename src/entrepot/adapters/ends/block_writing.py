"""Chunks on their way to a file: collected to blocks, written by a thread while the next ones
arrive. Nothing is copied, and at most two blocks are in memory."""

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Final

from entrepot.adapters.ends.block_reading import BLOCK

_MOST_CHUNKS: Final = 1024
"""What one writev(2) takes."""


class BlockWriter:
    """Hands blocks (lists of at most 1024 chunks) to `write` in threads, one after the other."""

    def __init__(self, write: Callable[[Sequence[bytes]], None]) -> None:
        self._write = write
        self._chunks: list[bytes] = []
        self._collected = 0
        self._job: asyncio.Future[None] | None = None

    async def add(self, chunk: bytes) -> None:
        """Take a chunk. Raise what writing an earlier one raised."""
        if chunk:
            self._chunks.append(chunk)
            self._collected += len(chunk)
        if self._collected >= BLOCK or len(self._chunks) >= _MOST_CHUNKS:
            await self._send()

    async def finish(self) -> None:
        """Write what is still collected; return when all is written."""
        if self._chunks:
            await self._send()
        await self._written()

    async def settle(self, *, keep: bool) -> None:
        """Wait until no thread writes any more, whatever became of it. To be called before the
        file is closed. With `keep`, what is still collected is written if all went well."""
        if not keep:
            self._chunks, self._collected = [], 0
        job, self._job = self._job, None
        while job is not None or self._chunks:
            if job is None:
                job = self._submit()
            while not job.done():
                try:
                    await asyncio.wait([job])
                except asyncio.CancelledError:
                    continue  # it takes a moment only, and the file is closed next
            if job.exception() is not None:
                self._chunks = []
            job = None

    async def _send(self) -> None:
        await self._written()
        self._job = self._submit()

    def _submit(self) -> asyncio.Future[None]:
        chunks, self._chunks, self._collected = self._chunks, [], 0
        return asyncio.get_running_loop().run_in_executor(None, self._write, chunks)

    async def _written(self) -> None:
        if self._job is not None:
            await asyncio.shield(self._job)
            self._job = None


def write_all(descriptor: int, chunks: Sequence[bytes | memoryview]) -> int:
    """Write at most 1024 chunks where the file stands; return how many bytes they were."""
    total = 0
    while chunks:
        written = os.writev(descriptor, chunks)
        total += written
        chunks = _after(chunks, written)
    return total


def _after(chunks: Sequence[bytes | memoryview], written: int) -> Sequence[bytes | memoryview]:
    """Return what is left of the chunks behind the first `written` bytes."""
    for number, chunk in enumerate(chunks):
        if written < len(chunk):
            return [memoryview(chunk)[written:], *chunks[number + 1 :]]
        written -= len(chunk)
    return ()
