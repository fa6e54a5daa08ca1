"""Spools: one writer over all processes, followers behind it, and nobody gets wrong content whole.

`others` stand for another process: they share the directory with `spools` and nothing else.
Row CA-01 of the capabilities (verified before it is content).
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.adapters.content_stores.spools import FilesystemSpools
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    ConnectionLost,
    DigestInvalid,
    RegistryError,
    SizeInvalid,
    StoreFull,
    Unavailable,
)
from entrepot.ports.delivery import HELD_BACK, Follow
from entrepot.ports.spools import SpoolWriter
from entrepot.testing.deliveries import collect

CONTENT = os.urandom(3_000_000)
SIZE = len(CONTENT)
DIGEST = Digest.of(CONTENT)
HALF = SIZE // 2
PATIENCE = 0.3


@pytest.fixture
async def spools(store: FilesystemContentStore) -> AsyncIterator[FilesystemSpools]:
    spools = store.spools(patience=PATIENCE)
    yield spools
    await spools.close()


@pytest.fixture
async def others(other: FilesystemContentStore) -> AsyncIterator[FilesystemSpools]:
    others = other.spools(patience=PATIENCE)
    yield others
    await others.close()


async def begun(spools: FilesystemSpools, size: int = SIZE) -> SpoolWriter:
    writer = await spools.begin(DIGEST, size)
    assert writer is not None
    return writer


async def write(writer: SpoolWriter, content: bytes, piece: int = 300_000) -> None:
    """Write as a transport does: in threads, from memory that is used again."""
    block = bytearray(piece)
    for at in range(0, len(content), piece):
        part = content[at : at + piece]
        block[: len(part)] = part
        await asyncio.to_thread(writer.write, memoryview(block)[: len(part)])


async def following(spools: FilesystemSpools, offset: int = 0, length: int = SIZE) -> bytes:
    spool = await spools.follow(DIGEST)
    assert spool is not None
    return await collect(Follow(spool, offset, length))


class Reader(Protocol):
    async def __call__(self, offset: int = 0, length: int = SIZE) -> bytes: ...


@pytest.fixture(params=["here", "elsewhere"])
def follow(
    request: pytest.FixtureRequest, spools: FilesystemSpools, others: FilesystemSpools
) -> Reader:
    """Follow what `spools` writes in its own process, and in another."""
    reader = spools if request.param == "here" else others

    async def read(offset: int = 0, length: int = SIZE) -> bytes:
        return await following(reader, offset, length)

    return read


async def test_what_was_written_becomes_content(
    spools: FilesystemSpools, store: FilesystemContentStore, root: Path
) -> None:
    writer = await begun(spools)
    await write(writer, CONTENT)
    assert (writer.offset, writer.spool.size) == (SIZE, SIZE)
    assert await writer.commit() == SIZE
    assert await collect(await store.open(DIGEST)) == CONTENT
    assert list((root / "spools").iterdir()) == []


async def test_a_follower_gets_every_byte(spools: FilesystemSpools, follow: Reader) -> None:
    writer = await begun(spools)
    reading = [
        asyncio.create_task(follow()),
        asyncio.create_task(follow(HALF, 1000)),
        asyncio.create_task(follow(SIZE - 10, 10)),
    ]
    await write(writer, CONTENT)
    await writer.commit()
    assert await asyncio.gather(*reading) == [
        CONTENT,
        CONTENT[HALF : HALF + 1000],
        CONTENT[-10:],
    ]


async def test_bytes_are_readable_before_the_next_ones_come(
    spools: FilesystemSpools, others: FilesystemSpools
) -> None:
    writer = await begun(spools)
    found = [await one.follow(DIGEST) for one in (spools, others)]
    await write(writer, CONTENT[:700])
    for spool in found:
        assert spool is not None
        assert await asyncio.wait_for(spool.available(699), 5) == 700
        assert await asyncio.wait_for(Follow(spool, 0, HELD_BACK + 700).available(0), 5) == 700
    await writer.release()


async def test_the_end_of_a_range_waits_for_the_digest(
    spools: FilesystemSpools, follow: Reader
) -> None:
    """Else a part of wrong content would arrive as if it were right."""
    writer = await begun(spools)
    ranges = [(0, 700), (5000, 20_000), (SIZE - 10, 10)]
    reading = [asyncio.create_task(follow(*one)) for one in ranges]
    await write(writer, CONTENT)
    done, _ = await asyncio.wait(reading, timeout=0.1)
    assert not done
    await writer.commit()
    for (offset, length), task in zip(ranges, reading, strict=True):
        assert await asyncio.wait_for(task, 5) == CONTENT[offset : offset + length]


async def test_the_last_bytes_wait_for_the_digest(
    spools: FilesystemSpools, others: FilesystemSpools
) -> None:
    writer = await begun(spools)
    await write(writer, CONTENT)
    theirs = await others.follow(DIGEST)
    assert theirs is not None
    for spool in (writer.spool, theirs):
        assert await spool.available(SIZE - HELD_BACK - 1) == SIZE - HELD_BACK
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(spool.available(SIZE - HELD_BACK), 0.05)
    await writer.commit()
    assert [await spool.available(SIZE - 1) for spool in (writer.spool, theirs)] == [SIZE, SIZE]


async def test_wrong_bytes_reach_nobody_whole_and_are_not_kept(
    spools: FilesystemSpools, follow: Reader, store: FilesystemContentStore, root: Path
) -> None:
    writer = await begun(spools)
    reading = asyncio.create_task(follow())
    await write(writer, CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with pytest.raises(DigestInvalid):
        await writer.commit()
    with pytest.raises(Unavailable):
        await reading
    with pytest.raises(BlobUnknown):
        await store.size(DIGEST)
    assert list((root / "spools").iterdir()) == []


async def test_what_ended_early_is_refused(
    spools: FilesystemSpools, follow: Reader, root: Path
) -> None:
    writer = await begun(spools)
    reading = asyncio.create_task(follow())
    await write(writer, CONTENT[:HALF])
    with pytest.raises(SizeInvalid):
        await writer.commit()
    with pytest.raises(Unavailable):
        await reading
    assert list((root / "spools").iterdir()) == []


async def test_more_than_was_announced_is_refused(spools: FilesystemSpools) -> None:
    writer = await begun(spools)
    await write(writer, CONTENT)
    with pytest.raises(SizeInvalid):
        writer.write(memoryview(b"more"))
    assert writer.offset == SIZE


async def test_only_one_may_write(spools: FilesystemSpools, others: FilesystemSpools) -> None:
    writer = await begun(spools)
    assert await spools.begin(DIGEST, SIZE) is None
    assert await others.begin(DIGEST, SIZE) is None
    await writer.release()
    await (await begun(others)).release()


async def test_many_who_begin_at_once_are_one_who_writes(
    spools: FilesystemSpools, others: FilesystemSpools
) -> None:
    begun = await asyncio.gather(*(s.begin(DIGEST, SIZE) for s in (spools, others) * 10))
    assert sum(writer is not None for writer in begun) == 1


async def test_there_is_nothing_to_follow_where_nobody_writes(spools: FilesystemSpools) -> None:
    assert await spools.follow(DIGEST) is None
    writer = await begun(spools)
    await write(writer, CONTENT[:HALF])
    await writer.release()
    assert await spools.follow(DIGEST) is None


async def test_another_process_goes_on_where_the_writer_stopped(
    spools: FilesystemSpools, others: FilesystemSpools, store: FilesystemContentStore
) -> None:
    first = await begun(spools)
    reading = [asyncio.create_task(following(one)) for one in (spools, others)]
    await write(first, CONTENT[:HALF])
    await first.release()
    second = await begun(others)
    assert second.offset == HALF
    await write(second, CONTENT[HALF:])
    await second.commit()
    assert await asyncio.gather(*reading) == [CONTENT, CONTENT]
    assert await store.size(DIGEST) == SIZE


async def test_a_wrong_beginning_that_was_left_is_found(
    spools: FilesystemSpools, root: Path
) -> None:
    first = await begun(spools)
    await write(first, b"\0" * HALF)
    await first.release()
    second = await begun(spools)
    await write(second, CONTENT[HALF:])
    with pytest.raises(DigestInvalid):
        await second.commit()
    assert list((root / "spools").iterdir()) == []


async def test_followers_learn_that_the_writer_has_stopped(
    spools: FilesystemSpools, others: FilesystemSpools
) -> None:
    """Who can go on is told soon; who only reads waits for somebody to do so."""
    writer = await begun(spools)
    spool = await others.follow(DIGEST)
    assert spool is not None
    reading = asyncio.create_task(spool.available(HALF))
    ended = asyncio.create_task(spool.ended())
    await write(writer, CONTENT[:HALF])
    await writer.release()
    assert await asyncio.wait_for(ended, 5) is False
    assert not reading.done()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(reading, 5)


async def test_a_spool_has_ended_when_the_content_is_in_its_place(
    spools: FilesystemSpools, others: FilesystemSpools, other: FilesystemContentStore
) -> None:
    writer = await begun(spools)
    theirs = await others.follow(DIGEST)
    assert theirs is not None
    ends = [asyncio.create_task(spool.ended()) for spool in (writer.spool, theirs)]
    await write(writer, CONTENT)
    await asyncio.sleep(0.02)
    assert not any(end.done() for end in ends)
    await writer.commit()
    assert await asyncio.gather(*ends) == [True, True]
    assert await other.size(DIGEST) == SIZE


async def test_followers_here_are_told_why_writing_stopped(spools: FilesystemSpools) -> None:
    writer = await begun(spools)
    reading = asyncio.create_task(following(spools))
    await write(writer, CONTENT[:HALF])
    await writer.release(ConnectionLost("the upstream broke off"))
    with pytest.raises(ConnectionLost):
        await reading
    again = await begun(spools)
    reading = asyncio.create_task(following(spools))
    await write(again, CONTENT[again.offset :])
    await again.commit()
    assert await reading == CONTENT


async def test_what_is_discarded_is_gone(
    spools: FilesystemSpools, others: FilesystemSpools, root: Path
) -> None:
    writer = await begun(spools)
    reading = [asyncio.create_task(following(one)) for one in (spools, others)]
    await write(writer, CONTENT[:HALF])
    await writer.discard(ConnectionLost("the upstream is gone"))
    for task in reading:
        with pytest.raises(Unavailable):
            await task
    assert list((root / "spools").iterdir()) == []
    assert (await begun(others)).offset == 0


async def test_after_its_end_a_writer_does_nothing(spools: FilesystemSpools) -> None:
    first = await begun(spools)
    await write(first, CONTENT)
    await first.commit()
    await first.release(ConnectionLost("too late"))
    await first.discard(ConnectionLost("too late"))
    with pytest.raises(Unavailable):
        first.write(memoryview(b""))
    with pytest.raises(Unavailable):
        await first.commit()
    assert await first.spool.available(SIZE - 1) == SIZE


async def test_content_that_came_meanwhile_is_kept(
    spools: FilesystemSpools, follow: Reader, other: FilesystemContentStore, root: Path
) -> None:
    writer = await begun(spools)
    reading = asyncio.create_task(follow())
    await write(writer, CONTENT)
    await other.put(DIGEST, CONTENT)
    before = os.stat(next((root / "blobs").rglob(DIGEST.hex))).st_ino
    await writer.commit()
    assert os.stat(next((root / "blobs").rglob(DIGEST.hex))).st_ino == before
    assert await reading == CONTENT
    assert list((root / "spools").iterdir()) == []


async def test_a_spool_of_another_size_is_dropped(spools: FilesystemSpools) -> None:
    first = await begun(spools, SIZE + 1)
    await write(first, b"wrong")
    await first.release()
    second = await begun(spools)
    assert (second.offset, second.spool.size) == (0, SIZE)


async def test_what_died_after_its_verification_is_verified_again(
    spools: FilesystemSpools, root: Path, store: FilesystemContentStore
) -> None:
    first = await begun(spools)
    await write(first, CONTENT)
    await first.release()
    next((root / "spools").rglob(str(SIZE))).chmod(0o444)
    second = await begun(spools)
    assert second.offset == SIZE
    await second.commit()
    assert await store.size(DIGEST) == SIZE


@pytest.mark.parametrize("content", [b"", b"1", bytes(HELD_BACK), bytes(HELD_BACK + 1)], ids=len)
async def test_small_content_is_readable_as_soon_as_it_is_verified(
    spools: FilesystemSpools, store: FilesystemContentStore, content: bytes
) -> None:
    digest = Digest.of(content)
    writer = await spools.begin(digest, len(content))
    assert writer is not None
    reading = asyncio.create_task(collect(Follow(writer.spool, 0, len(content))))
    writer.write(memoryview(content))
    await writer.commit()
    assert await reading == content
    assert await store.read(digest, 1 << 20) == content


async def test_a_spool_needs_room(spools: FilesystemSpools, root: Path) -> None:
    with pytest.raises(StoreFull):
        await spools.begin(DIGEST, 1 << 60)
    assert list((root / "spools").iterdir()) == []
    await begun(spools)  # and the right to write it is nobody's


async def test_a_descriptor_outlives_the_spool(spools: FilesystemSpools) -> None:
    writer = await begun(spools)
    file = writer.spool.open()
    await write(writer, CONTENT)
    await writer.discard(ConnectionLost("gone"))
    try:
        assert os.pread(file, 10, HALF) == CONTENT[HALF : HALF + 10]
    finally:
        os.close(file)


async def test_leftovers_are_what_nobody_writes(
    spools: FilesystemSpools, others: FilesystemSpools
) -> None:
    writer = await begun(spools)
    await write(writer, CONTENT[:HALF])
    assert await others.leftovers() == []
    assert await others.drop(DIGEST) is False
    await writer.release()
    ((digest, held, written_at),) = await others.leftovers()
    assert (digest, held, written_at > 0) == (DIGEST, HALF, True)
    assert await others.drop(DIGEST) is True
    assert await others.leftovers() == []


async def test_closing_leaves_what_was_being_written(
    store: FilesystemContentStore, others: FilesystemSpools
) -> None:
    spools = store.spools()
    await write(await begun(spools), CONTENT[:HALF])
    await spools.close()
    assert (await begun(others)).offset == HALF


async def test_durable_spools_become_content_too(root: Path) -> None:
    store = FilesystemContentStore(root)
    spools = store.spools()
    content = os.urandom(1 << 20) * 10
    digest = Digest.of(content)
    writer = await spools.begin(digest, len(content))
    assert writer is not None
    await write(writer, content)
    await writer.commit()
    assert await store.size(digest) == len(content)
    await spools.close()
    await store.close()


def files(root: Path) -> list[Path]:
    return sorted(root.rglob("*"))


class Turns:
    """Tasks that take turns; how many have it at once is counted."""

    def __init__(self) -> None:
        self.had = 0
        self.most = 0
        self._now = 0

    async def take(self, spools: FilesystemSpools, key: str) -> None:
        async with spools.turn(key):
            self._now += 1
            self.had += 1
            self.most = max(self.most, self._now)
            await asyncio.sleep(0.002)
            self._now -= 1


async def test_one_at_a_time_has_the_turn(
    spools: FilesystemSpools, others: FilesystemSpools
) -> None:
    turns = Turns()
    await asyncio.gather(*(turns.take(s, "tag") for s in (spools, others) * 5))
    assert (turns.had, turns.most) == (10, 1)


async def test_other_keys_have_their_own_turns(spools: FilesystemSpools) -> None:
    async with asyncio.timeout(5), spools.turn("one"), spools.turn("two"):
        pass


async def test_who_gives_up_waiting_holds_nobody_up(
    spools: FilesystemSpools, others: FilesystemSpools
) -> None:
    turns = Turns()
    async with spools.turn("tag"):
        waiting = [asyncio.create_task(turns.take(s, "tag")) for s in (spools, others) * 3]
        await asyncio.sleep(0.01)
        for task in waiting[:4]:
            task.cancel()
    for task in waiting:
        with suppress(asyncio.CancelledError):
            await task
    assert turns.had == 2


async def test_an_error_ends_the_turn(spools: FilesystemSpools) -> None:
    with pytest.raises(RegistryError):
        async with spools.turn("tag"):
            raise Unavailable("not now")
    async with asyncio.timeout(5), spools.turn("tag"):
        pass


async def test_turns_leave_no_files(spools: FilesystemSpools, root: Path) -> None:
    before = files(root)
    for number in range(20):
        async with spools.turn(f"key {number}"):
            pass
    assert files(root) == before


async def test_who_is_cancelled_while_beginning_holds_nothing(spools: FilesystemSpools) -> None:
    for _ in range(20):
        task = asyncio.create_task(spools.begin(DIGEST, SIZE))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            assert await task is None
    await (await begun(spools)).release()
