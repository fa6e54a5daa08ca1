"""Deliveries as chunks of bytes: for what the kernel cannot send by itself (TLS, HTTP/2) and
for answers put together from several parts."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from entrepot.ports.delivery import Delivery, File, Follow, Inline, Redirect

BLOCK: Final = 512 * 1024


def open_file(path: Path) -> int:
    """Open a file for reading; return its descriptor. Raise OSError."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


async def read_blocks(file: int, offset: int, length: int) -> AsyncIterator[bytes]:
    """Yield `length` bytes of an open file from `offset`. Raise OSError if it ends before."""
    loop = asyncio.get_running_loop()
    end = offset + length
    while offset < end:
        # Off the loop: a block that is not in the page cache waits for the disk.
        block = await loop.run_in_executor(None, os.pread, file, min(BLOCK, end - offset), offset)
        if not block:
            raise OSError(f"the file ended {end - offset} bytes early")
        offset += len(block)
        yield block


async def read_spool(delivery: Follow, file: int) -> AsyncIterator[bytes]:
    """Yield a range of a spool that `file` is open on, as it grows. Raise what the spool does."""
    at, end = delivery.offset, delivery.offset + delivery.length
    while at < end:
        ready = await delivery.available(at)
        async for block in read_blocks(file, at, ready - at):
            yield block
        at = ready


async def chunks_of(delivery: Delivery) -> AsyncIterator[bytes]:
    """Yield a delivery's bytes. Raise OSError if a file fails, what a spool raises, ValueError for
    a redirect."""
    if isinstance(delivery, Inline):
        yield delivery.content
    elif isinstance(delivery, File):
        file = open_file(delivery.path)
        try:
            async for block in read_blocks(file, delivery.offset, delivery.length):
                yield block
        finally:
            os.close(file)
    elif isinstance(delivery, Follow):
        file = delivery.spool.open()
        try:
            async for block in read_spool(delivery, file):
                yield block
        finally:
            os.close(file)
    elif isinstance(delivery, Redirect):
        raise ValueError("a redirect has no bytes; a face renders it as one")
    else:
        async for chunk in delivery.chunks:
            yield chunk
