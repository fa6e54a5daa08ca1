"""Blobs poured into a target: the same bytes and the same verdicts as when they are read."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Hasher
from entrepot.oci.errors import ConnectionLost, DigestInvalid, SizeInvalid, StoreFull
from entrepot.ports.image_end import PouredContent, PoursBlobs, Sink
from entrepot.services.progress import BlobAdvanced, BlobStarted, Event, Retried
from entrepot.services.verified_blob import PouredBlob, verified_blob
from entrepot.testing.example_images import described
from entrepot.testing.memory_end import MemoryEnd

CONTENT = random.Random(3).randbytes(1_000_000)
BLOB = described(CONTENT, "application/octet-stream")
PIECE = 70_000


class Spring(MemoryEnd):
    """A source that pours `content`, and breaks off once at `breaks_at`; `offsets` are where it
    was asked to begin."""

    def __init__(self, content: bytes = CONTENT, breaks_at: int | None = None) -> None:
        super().__init__()
        self.content = content
        self.breaks_at = breaks_at
        self.offsets: list[int] = []

    async def pour(self, descriptor: Descriptor, offset: int, sink: Sink) -> None:
        self.offsets.append(offset)
        for start in range(offset, len(self.content), PIECE):
            if self.breaks_at is not None and start >= self.breaks_at:
                self.breaks_at = None
                raise ConnectionLost("the source was lost; try again")
            await asyncio.to_thread(sink, memoryview(self.content)[start : start + PIECE])

    async def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        yield self.content[offset:]


def of(spring: Spring, descriptor: Descriptor = BLOB) -> tuple[PouredBlob, list[Event]]:
    assert isinstance(spring, PoursBlobs)
    events: list[Event] = []
    blob = verified_blob(spring, descriptor, events.append)
    assert isinstance(blob, PouredBlob)
    assert isinstance(blob, PouredContent)
    return blob, events


async def poured(blob: PouredBlob, offset: int = 0, prefix: Hasher | None = None) -> bytes:
    found = bytearray()
    await blob.pour(found.extend, offset, prefix)
    return bytes(found)


async def test_the_bytes_come_as_they_are_and_are_told() -> None:
    blob, events = of(Spring())
    assert await poured(blob) == CONTENT
    await asyncio.sleep(0)
    assert events[0] == BlobStarted(BLOB, 0)
    assert sum(event.bytes for event in events if isinstance(event, BlobAdvanced)) == BLOB.size
    assert blob.read_bytes == BLOB.size


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_wrong_bytes_are_refused(algorithm: str) -> None:
    wrong = described(CONTENT[:-1] + b"\0", "application/octet-stream", algorithm)
    with pytest.raises(DigestInvalid, match="source"):
        await poured(of(Spring(), wrong)[0])


async def test_a_byte_too_many_is_refused_before_it_is_handed_over() -> None:
    taken = bytearray()
    with pytest.raises(SizeInvalid):
        await of(Spring(CONTENT + b"!"))[0].pour(taken.extend)
    assert len(taken) < BLOB.size


async def test_a_byte_too_few_is_refused() -> None:
    with pytest.raises(SizeInvalid):
        await poured(of(Spring(CONTENT[:-1]))[0])


@pytest.mark.parametrize("offset", [0, 1, PIECE, PIECE + 1, 7 * PIECE - 3])
async def test_a_pour_that_broke_off_is_continued_and_verifies_the_whole(offset: int) -> None:
    spring = Spring(breaks_at=7 * PIECE)
    blob, events = of(spring)
    with pytest.raises(ConnectionLost):
        await poured(blob)
    assert await poured(blob, offset) == CONTENT[offset:]
    assert spring.offsets[1] <= offset < spring.offsets[1] + PIECE
    assert Retried(BLOB, offset) in events
    changed, _ = of(other := Spring(breaks_at=7 * PIECE))
    with pytest.raises(ConnectionLost):
        await poured(changed)
    other.content = CONTENT[:-1] + b"\0"
    with pytest.raises(DigestInvalid):
        await poured(changed, offset)


async def test_reading_and_pouring_go_on_from_each_other() -> None:
    blob, _ = of(spring := Spring(breaks_at=3 * PIECE))
    with pytest.raises(ConnectionLost):
        await poured(blob)
    rest = b"".join([chunk async for chunk in blob.read(2 * PIECE)])
    assert rest == CONTENT[2 * PIECE :]
    assert await poured(blob, BLOB.size - 5) == CONTENT[-5:]
    assert spring.offsets == [0, 2 * PIECE]  # the last state of the hash before what is wanted


async def test_a_prefix_counts_as_poured() -> None:
    hasher, wrong = Hasher(), Hasher()
    hasher.update(CONTENT[:123_456])
    wrong.update(b"x" * 100)
    blob, _ = of(spring := Spring())
    assert await poured(blob, 123_456, hasher) == CONTENT[123_456:]
    assert spring.offsets == [123_456]
    with pytest.raises(DigestInvalid):
        await poured(of(Spring())[0], 100, wrong)


async def test_a_whole_prefix_is_verified_without_the_source() -> None:
    whole = Hasher()
    whole.update(CONTENT)
    blob, _ = of(spring := Spring())
    assert await poured(blob, BLOB.size, whole) == b""
    assert spring.offsets == []


async def test_an_offset_beyond_the_end_is_refused() -> None:
    with pytest.raises(SizeInvalid):
        await poured(of(Spring())[0], BLOB.size + 1)


async def test_what_the_sink_raises_is_raised() -> None:
    def full(_piece: memoryview) -> None:
        raise StoreFull("there is no space left; free some")

    with pytest.raises(StoreFull):
        await of(Spring())[0].pour(full)


async def test_what_cannot_be_poured_is_read() -> None:
    source = MemoryEnd()
    embedded = Descriptor("text/plain", described(b"x", "text/plain").digest, 1, data=b"x")
    assert not isinstance(verified_blob(source, BLOB, print), PouredContent)
    assert not isinstance(verified_blob(Spring(), embedded, print), PouredContent)
