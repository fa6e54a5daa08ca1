"""Blobs that a thread reads from a store: the same bytes and verdicts as when they are read."""

import asyncio
import random
from collections.abc import Generator

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.errors import ConnectionLost, DigestInvalid, SizeInvalid
from entrepot.ports.image_end import StoredContent, StoresBlobs
from entrepot.services.progress import BlobAdvanced, BlobStarted, Event
from entrepot.services.verified_blob import StoredBlob, verified_blob
from entrepot.testing.example_images import described
from entrepot.testing.memory_end import MemoryEnd

CONTENT = random.Random(3).randbytes(1_000_000)
BLOB = described(CONTENT, "application/octet-stream")
PIECE = 70_000


class Store(MemoryEnd):
    """A source of one blob in a file; `offsets` are where reading began, `open` how many do."""

    def __init__(self, content: bytes = CONTENT) -> None:
        super().__init__()
        self.content = content
        self.offsets: list[int] = []
        self.open = 0

    def blocks(self, descriptor: Descriptor, offset: int) -> Generator[bytes, None, None]:
        self.offsets.append(offset)
        self.open += 1
        try:
            for start in range(offset, len(self.content), PIECE):
                yield self.content[start : start + PIECE]
        finally:
            self.open -= 1


def of(store: Store, descriptor: Descriptor = BLOB) -> tuple[StoredBlob, list[Event]]:
    assert isinstance(store, StoresBlobs)
    events: list[Event] = []
    blob = verified_blob(store, descriptor, events.append)
    assert isinstance(blob, StoredBlob)
    assert isinstance(blob, StoredContent)
    return blob, events


async def read(blob: StoredBlob, offset: int = 0) -> bytes:
    return await asyncio.to_thread(b"".join, await blob.blocks(offset))


async def test_the_bytes_come_as_they_are_and_are_told() -> None:
    blob, events = of(store := Store())
    assert await read(blob) == CONTENT
    await asyncio.sleep(0)
    assert events[0] == BlobStarted(BLOB, 0)
    assert sum(event.bytes for event in events if isinstance(event, BlobAdvanced)) == BLOB.size
    assert blob.read_bytes == BLOB.size
    assert store.open == 0


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"\0", CONTENT[:-1], CONTENT + b"!"])
async def test_other_content_is_refused(content: bytes) -> None:
    with pytest.raises((DigestInvalid, SizeInvalid)):
        await read(of(Store(content))[0])


@pytest.mark.parametrize("offset", [0, 1, PIECE, 3 * PIECE - 1, 3 * PIECE])
async def test_what_was_left_is_continued_and_verifies_the_whole(offset: int) -> None:
    blob, _ = of(store := Store())
    blocks = await blob.blocks()
    for _ in range(3):
        next(blocks)
    blocks.close()
    assert store.open == 0
    assert await read(blob, offset) == CONTENT[offset:]
    assert store.offsets[1] <= offset < store.offsets[1] + PIECE
    store.content = CONTENT[:-1] + b"\0"
    with pytest.raises(DigestInvalid):
        await read(blob, offset)


async def test_what_the_store_raises_is_raised() -> None:
    class Broken(Store):
        def blocks(self, descriptor: Descriptor, offset: int) -> Generator[bytes, None, None]:
            yield CONTENT[:PIECE]
            raise ConnectionLost("the disk went away; try again")

    with pytest.raises(ConnectionLost):
        await read(of(Broken())[0])
