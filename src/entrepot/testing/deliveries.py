"""Reading a delivery as a face would: `chunks` piece by piece, `collect` all of it."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Final
from urllib.request import urlopen

from entrepot.ports.delivery import Delivery, File, Follow, Inline, Redirect, Stream

BLOCK: Final = 64 << 10
"""How much of a file is read at a time, in bytes."""


async def collect(delivery: Delivery) -> bytes:
    """Return everything a delivery delivers."""
    return b"".join([chunk async for chunk in chunks(delivery)])


async def chunks(delivery: Delivery) -> AsyncIterator[bytes]:
    """Yield what a delivery delivers; a file is opened when the first chunk is asked for."""
    match delivery:
        case Inline(content):
            yield content
        case File():
            for block in _blocks(delivery):
                yield block
        case Stream(arriving):
            async for chunk in arriving:
                yield chunk
        case Follow():
            async for block in _followed(delivery):
                yield block
        case Redirect(url):
            yield await asyncio.to_thread(_fetch, url)


def _blocks(file: File) -> Iterator[bytes]:
    with file.path.open("rb") as opened:
        opened.seek(file.offset)
        left = file.length
        while left:
            block = opened.read(min(left, BLOCK))
            if not block:
                raise EOFError(f"{file.path} ends {left} bytes too early")
            left -= len(block)
            yield block


async def _followed(follow: Follow) -> AsyncIterator[bytes]:
    file = follow.spool.open()
    at, end = follow.offset, follow.offset + follow.length
    try:
        while at < end:
            ready = await follow.available(at)
            while at < ready:
                block = os.pread(file, min(ready - at, BLOCK), at)
                if not block:
                    raise EOFError(f"a spool says it has {ready} bytes, and has only {at}")
                at += len(block)
                yield block
    finally:
        os.close(file)


def _fetch(url: str) -> bytes:
    with urlopen(url) as response:  # noqa: S310 - a store under test chose the URL
        content: bytes = response.read()
        return content
