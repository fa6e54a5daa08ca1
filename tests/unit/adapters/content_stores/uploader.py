"""A process that uploads, to be killed, limited or watched: `uploader.py ROOT TASK`.

It tells on its standard output, line by line, what it has come to.
"""

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.oci.digest import Digest
from entrepot.oci.errors import StoreFull
from entrepot.testing.sources import arriving

LIMIT: Final = 1 << 20
"""The largest file the task `limited` may write, in bytes."""

PIECE: Final = bytes(range(256)) * 256
PIECES: Final = 200


def tell(line: object) -> None:
    print(line, flush=True)


async def stall(root: Path) -> None:
    """Send PIECES pieces to the upload `upload`, then wait for ever."""
    store = FilesystemContentStore(root, durable=False)

    async def source() -> AsyncIterator[bytes]:
        for _ in range(PIECES):
            yield PIECE
        tell("all sent")
        await asyncio.Event().wait()

    ingest = await store.ingest("upload", create=True)
    await ingest.append(source())


async def push(root: Path) -> None:
    """Commit new content for ever, four uploads at a time; tell the digest of each."""
    store = FilesystemContentStore(root, durable=False)

    async def push_one_after_another() -> None:
        while True:
            blocks = [os.urandom(16 << 10) * 8 for _ in range(4)]
            digest = Digest.of(b"".join(blocks))
            ingest = await store.ingest(os.urandom(8).hex(), create=True)
            await ingest.append(arriving(*blocks[:2]))
            await ingest.append(arriving(*blocks[2:]))
            await ingest.commit(digest)
            tell(digest)
            manifest = os.urandom(1000)
            await store.put(Digest.of(manifest), manifest)
            tell(Digest.of(manifest))

    await asyncio.gather(*(push_one_after_another() for _ in range(4)))


async def limited(root: Path) -> None:
    """Try to write files that are larger than this process may."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    store = FilesystemContentStore(root)
    content = PIECE * PIECES
    ingest = await store.ingest("upload", create=True)
    await ingest.append(arriving(PIECE))
    for attempt in (ingest.append(arriving(content)), store.put(Digest.of(content), content)):
        try:
            await attempt
        except StoreFull:
            tell("full")
    tell(await ingest.offset())
    await ingest.append(arriving(PIECE))
    tell(await ingest.commit(Digest.of(PIECE * 2)))


async def once(root: Path, *, durable: bool) -> None:
    """Upload once in two appends, and put once."""
    store = FilesystemContentStore(root, durable=durable)
    ingest = await store.ingest("upload", create=True)
    await ingest.append(arriving(PIECE))
    await ingest.append(arriving(PIECE))
    await ingest.commit(Digest.of(PIECE * 2))
    await store.put(Digest.of(b"put"), b"put")


TASKS: Final[dict[str, Callable[[Path], Coroutine[Any, Any, None]]]] = {
    "stall": stall,
    "push": push,
    "limited": limited,
    "durable": lambda root: once(root, durable=True),
    "not-durable": lambda root: once(root, durable=False),
}

if __name__ == "__main__":
    asyncio.run(TASKS[sys.argv[2]](Path(sys.argv[1])))
