"""Files read in blocks, for connections the kernel cannot fill by itself (TLS, HTTP/2)."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

BLOCK: Final = 512 * 1024


def open_file(path: Path) -> int:
    """Open a file for reading; return its descriptor. Raise OSError."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


async def read_blocks(file: int, offset: int, length: int) -> AsyncIterator[bytes]:
    """Yield `length` bytes from `offset`. Raise OSError if the file ends before."""
    loop = asyncio.get_running_loop()
    end = offset + length
    while offset < end:
        # Off the loop: a block that is not in the page cache waits for the disk.
        block = await loop.run_in_executor(None, os.pread, file, min(BLOCK, end - offset), offset)
        if not block:
            raise OSError(f"the file ended {end - offset} bytes early")
        offset += len(block)
        yield block
