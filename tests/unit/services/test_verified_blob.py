"""Blobs on their way: what is yielded, what is verified, and how reads go on."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import DigestInvalid, SizeInvalid
from entrepot.services.progress import BlobAdvanced, BlobStarted, Event, Retried
from entrepot.services.trailing_hash import HashMarks
from entrepot.services.verified_blob import VerifiedBlob
from entrepot.testing.example_images import described

CONTENT = random.Random(3).randbytes(1_000_000)
BLOB = described(CONTENT, "application/octet-stream")
CHUNK = 70_000


class Source:
    """A source of one blob in chunks; `sent` counts bytes, `open` the streams not closed."""

    def __init__(self, content: bytes = CONTENT, chunk: int = CHUNK) -> None:
        self.content = content
        self.chunk = chunk
        self.sent = 0
        self.open = 0

    async def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            for start in range(offset, len(self.content), self.chunk):
                piece = self.content[start : start + self.chunk]
                self.sent += len(piece)
                yield piece
                await asyncio.sleep(0)
        finally:
            self.open -= 1


def verified(source: Source, descriptor: Descriptor = BLOB) -> tuple[VerifiedBlob, list[Event]]:
    events: list[Event] = []
    return VerifiedBlob(source, descriptor, events.append), events  # type: ignore[arg-type]


async def read(blob: VerifiedBlob, offset: int = 0, prefix: Hasher | None = None) -> bytes:
    return b"".join([chunk async for chunk in blob.read(offset, prefix)])


async def take(blob: VerifiedBlob, length: int, offset: int = 0) -> None:
    """Read chunks until there are `length` bytes of them, and break off."""
    async with aclosing(blob.read(offset)) as chunks:
        async for chunk in chunks:
            length -= len(chunk)
            if length <= 0:
                return


@pytest.mark.parametrize("chunk", [1 << 20, 40_000, 7_000])
async def test_the_bytes_come_as_they_are(chunk: int) -> None:
    blob, events = verified(Source(chunk=chunk))
    assert await read(blob) == CONTENT
    assert events[0] == BlobStarted(BLOB, 0)
    assert sum(event.bytes for event in events if isinstance(event, BlobAdvanced)) == BLOB.size
    assert blob.read_bytes == BLOB.size


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_the_last_byte_is_followed_by_the_verdict(algorithm: str) -> None:
    wrong = described(CONTENT[:-1] + b"\0", "application/octet-stream", algorithm)
    blob, _ = verified(Source(), wrong)
    with pytest.raises(DigestInvalid, match="source"):
        await read(blob)
    assert blob.read_bytes == BLOB.size


async def test_a_byte_too_many_is_refused_before_it_is_handed_over() -> None:
    blob, _ = verified(Source(CONTENT + b"!"))
    with pytest.raises(SizeInvalid):
        await read(blob)
    assert blob.read_bytes < BLOB.size


async def test_a_source_without_end_is_left_at_once() -> None:
    source = Source(b"x" * 50_000_000)
    blob, _ = verified(source)
    with pytest.raises(SizeInvalid):
        await read(blob)
    assert source.sent <= BLOB.size + CHUNK
    assert source.open == 0


async def test_a_byte_too_few_is_refused() -> None:
    blob, _ = verified(Source(CONTENT[:-1]))
    with pytest.raises(SizeInvalid):
        await read(blob)


async def test_an_empty_blob_is_a_blob() -> None:
    source = Source(b"")
    blob, events = verified(source, described(b"", "text/plain"))
    assert await read(blob) == b""
    assert len(events) == 1


@pytest.mark.parametrize("offset", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 7 * CHUNK - 3])
async def test_a_read_that_broke_off_is_continued_from_before(offset: int) -> None:
    blob, events = verified(source := Source())
    await take(blob, 7 * CHUNK)
    source.sent = 0
    assert await read(blob, offset) == CONTENT[offset:]
    assert source.sent <= BLOB.size - offset + CHUNK
    assert Retried(BLOB, offset) in events


@pytest.mark.parametrize("offset", [CHUNK, CHUNK + 1])
async def test_a_continued_read_verifies_the_whole(offset: int) -> None:
    source = Source()
    blob, _ = verified(source)
    await take(blob, 2 * CHUNK)
    source.content = CONTENT[:-1] + b"\0"
    with pytest.raises(DigestInvalid):
        await read(blob, offset)


async def test_a_read_may_break_off_again_before_it_has_begun() -> None:
    blob, _ = verified(source := Source())
    await take(blob, 5 * CHUNK)
    source.content = b""
    with pytest.raises(SizeInvalid):
        await read(blob, 3 * CHUNK + 1)
    source.content, source.chunk = CONTENT[:-1] + b"\0", 1000
    await take(blob, 1, 3 * CHUNK + 1)
    with pytest.raises(DigestInvalid):
        await read(blob, 3 * CHUNK + 1)


async def test_other_bytes_at_the_second_time_are_noticed() -> None:
    source = Source()
    blob, _ = verified(source)
    await take(blob, 5 * CHUNK)
    changed = bytearray(CONTENT)
    changed[3 * CHUNK] ^= 1
    source.content = bytes(changed)
    with pytest.raises(DigestInvalid):
        await read(blob, 2 * CHUNK)


async def test_a_prefix_counts_as_read() -> None:
    hasher = Hasher()
    hasher.update(CONTENT[:123_456])
    source = Source()
    blob, events = verified(source)
    assert await read(blob, 123_456, hasher) == CONTENT[123_456:]
    assert source.sent == BLOB.size - 123_456
    assert events[0] == BlobStarted(BLOB, 123_456)


async def test_a_wrong_prefix_is_noticed() -> None:
    hasher = Hasher()
    hasher.update(b"x" * 100)
    with pytest.raises(DigestInvalid):
        await read(verified(Source())[0], 100, hasher)


async def test_a_whole_prefix_is_verified_without_reading() -> None:
    source, whole, wrong = Source(), Hasher(), Hasher()
    whole.update(CONTENT)
    wrong.update(CONTENT[::-1])
    assert await read(verified(source)[0], BLOB.size, whole) == b""
    with pytest.raises(DigestInvalid):
        await read(verified(source)[0], BLOB.size, wrong)
    assert source.sent == 0


async def test_bytes_that_nobody_has_seen_are_left_to_the_target() -> None:
    changed = b"\0" * 100 + CONTENT[100:]
    assert await read(verified(Source(changed))[0], 100) == CONTENT[100:]
    with pytest.raises(SizeInvalid):
        await read(verified(Source(CONTENT[:-1]))[0], 100)


async def test_an_offset_beyond_the_end_is_refused() -> None:
    with pytest.raises(SizeInvalid):
        await read(verified(Source())[0], BLOB.size + 1)


async def test_embedded_content_needs_no_source() -> None:
    source = Source()
    blob, _ = verified(source, replace(BLOB, data=CONTENT))
    assert await read(blob) == CONTENT
    assert await read(blob, 17) == CONTENT[17:]
    assert source.sent == 0


async def test_a_blob_that_is_closed_gives_back_the_stream() -> None:
    source = Source()
    blob, _ = verified(source)
    chunks = blob.read()
    await anext(chunks)
    assert source.open == 1
    await blob.close()
    assert source.open == 0
    await chunks.aclose()  # type: ignore[attr-defined]


def test_marks_stay_few_and_close() -> None:
    size, step = 100_000, 10
    marks = HashMarks("sha256", size)
    for offset in range(step, size + 1, step):
        marks.add(offset, Hasher())
    assert len(marks) <= 2 * 64 + 2
    for offset in range(size, 0, -997):
        before = marks.before(offset)
        assert before is not None
        assert 0 <= offset - before[0] <= size / 64 + step


async def test_a_slow_target_does_not_make_chunks_pile_up() -> None:
    """At most a few chunks wait to be hashed, also if no thread is free."""
    release = asyncio.Event()
    loop = asyncio.get_running_loop()
    occupied = [
        loop.run_in_executor(None, asyncio.run_coroutine_threadsafe(release.wait(), loop).result)
        for _ in range(64)
    ]
    source = Source()
    blob, _ = verified(source)
    reading = asyncio.create_task(read(blob))
    for _ in range(200):
        await asyncio.sleep(0)
    assert source.sent <= 4 * CHUNK
    release.set()
    await asyncio.gather(*occupied)
    assert await reading == CONTENT


def test_content_of_any_digest_is_verified_by_its_own_algorithm() -> None:
    digest = Digest.of(CONTENT, "sha512")
    blob, _ = verified(Source(), Descriptor("x", digest, len(CONTENT)))
    assert asyncio.run(read(blob)) == CONTENT
