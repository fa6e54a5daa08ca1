"""Where an append's chunks come from: sources that end, break off, or wait to be told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self


class SourceLost(Exception):
    """What a source that breaks off raises; no store raises it."""


async def arriving(*chunks: bytes) -> AsyncIterator[bytes]:
    """Yield the chunks, giving way to other tasks before each."""
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


async def lost_after(*chunks: bytes) -> AsyncIterator[bytes]:
    """Yield the chunks, then raise SourceLost."""
    for chunk in chunks:
        yield chunk
    raise SourceLost


class Stalled:
    """A source that yields its chunks and then waits until `resume` is called.

    `reached` is set once all chunks have been taken and more are asked for.
    """

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = list(chunks)
        self.reached = asyncio.Event()
        self._resumed = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._chunks:
            return self._chunks.pop(0)
        self.reached.set()
        await self._resumed.wait()
        raise StopAsyncIteration

    def resume(self) -> None:
        """Let the source come to its end."""
        self._resumed.set()
