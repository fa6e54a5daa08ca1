"""Regions of files, read in blocks by threads, one block ahead of who consumes them."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from entrepot.adapters.ends.disk_errors import disk_errors
from entrepot.oci.digest import Hasher
from entrepot.oci.errors import ContentInvalid, DigestInvalid, SizeInvalid

BLOCK: Final = 1 << 20
"""How many bytes are read or written at a time."""


@dataclass(slots=True)
class Region:
    """`size` bytes of an open file from `start`; `shared` files are closed by others.

    `where` is how a message names it.
    """

    descriptor: int
    start: int
    size: int
    where: str
    shared: bool = False

    def read(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes, none at the end. Raise DigestInvalid for a file that has
        become shorter."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        with disk_errors(self.where):
            block = os.pread(self.descriptor, length, self.start + offset)
        if not block:
            raise DigestInvalid(f"{self.where} ends after {offset} bytes; get it anew")
        return block

    def whole(self, limit: int) -> bytes:
        """Read all of it. Raise SizeInvalid above `limit` bytes."""
        if self.size > limit:
            raise SizeInvalid(
                f"{self.where} has {self.size} bytes; at most {limit} are read of such a file"
            )
        content = bytearray()
        while block := self.read(len(content), BLOCK):
            content += block
        return bytes(content)

    def close(self) -> None:
        """Close the file, unless it is shared. A second time nothing happens."""
        if not self.shared and self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)


def open_file(path: str) -> Region | None:
    """Open a regular file; None if there is none. Raise ContentInvalid for anything else."""
    with disk_errors(path):
        try:
            # Without O_NONBLOCK, opening a FIFO that somebody put there would wait for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise ContentInvalid(f"{path} is not a regular file; remove it and get it anew")
    return Region(descriptor, 0, about.st_size, path)


async def blocks(region: Region, offset: int = 0) -> AsyncIterator[bytes]:
    """Yield a region's bytes from `offset`, and close it."""
    loop = asyncio.get_running_loop()
    ahead: asyncio.Future[bytes] | None = None
    try:
        while offset < region.size:
            ahead = ahead or loop.run_in_executor(None, region.read, offset, BLOCK)
            block = await asyncio.shield(ahead)
            offset += len(block)
            ahead = None
            if offset < region.size:
                ahead = loop.run_in_executor(None, region.read, offset, BLOCK)
            yield block
    finally:
        if ahead is not None:  # the thread must not read from a closed file
            await asyncio.wait([ahead])
            ahead.exception()
        region.close()


def hash_from(region: Region, offset: int, hasher: Hasher, length: int) -> int:
    """Hash up to `length` bytes from `offset`; return the offset behind them."""
    end = min(region.size, offset + length)
    while offset < end:
        block = region.read(offset, min(BLOCK, end - offset))
        hasher.update(block)
        offset += len(block)
    return offset
