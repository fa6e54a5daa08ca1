"""The cache's states, and what upkeep makes of those that a crash has left; on real files, since
that is where index and bytes can disagree. Rows CA-01, CA-03, CA-04 and CA-08."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from entrepot.adapters.cache_indexes.sqlite import SqliteCacheIndex
from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ConnectionLost, DigestInvalid, StoreFull, Unavailable
from entrepot.ports.cache_index import Quota
from entrepot.ports.mirror_books import NoBooks
from entrepot.ports.spools import SpoolWriter
from entrepot.rules.eviction_policies import policy_named
from entrepot.services.cache import Cache, Charge
from entrepot.services.cache_upkeep import CacheUpkeep
from entrepot.services.cache_use import CacheUse
from tests.unit.services.conftest import SetClock

HUB: Final = Charge("docker.io")
LIMIT: Final = 400_000
CONTENT: Final = bytes(range(256)) * 400
DIGEST: Final = Digest.of(CONTENT)
LAYER: Final = CONTENT + b"layer"
OTHER: Final = Digest.of(LAYER)


class Machine:
    """One cache directory, and the processes that have it open."""

    def __init__(self, path: Path, stack: AsyncExitStack) -> None:
        self.path = path
        self.clock = SetClock()
        self._stack = stack

    async def process(self, *, boot: str = "first") -> Cache:
        """Open the cache, as another process does that runs beside those that have it open."""
        content = FilesystemContentStore(self.path, durable=False)
        self._stack.push_async_callback(content.close)
        spools = content.spools()
        self._stack.push_async_callback(spools.close)
        index = await SqliteCacheIndex.open(self.path / "index.db", clock=self.clock, boot=boot)
        self._stack.push_async_callback(index.close)
        policy = policy_named("lru", 0)
        use = CacheUse(index.upkeep, policy, NoBooks(), self.clock)
        return Cache(content, spools, index, use, policy, LIMIT, NoBooks(), self.clock)

    def file(self, digest: Digest) -> Path:
        return self.path / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex

    def flip(self, digest: Digest) -> None:
        """Change a byte as a power loss does: nothing that `stat` tells changes."""
        path = self.file(digest)
        before = path.stat()
        path.chmod(0o600)
        with path.open("r+b") as file:
            file.write(b"\xff")
        path.chmod(before.st_mode)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def lock_up(self, digest: Digest) -> None:
        """Let the file be there and not be read, for root either."""
        path = self.file(digest)
        path.unlink()
        path.symlink_to(path)

    def spools(self) -> list[str]:
        return [one.name for one in (self.path / "spools").iterdir()]


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with AsyncExitStack() as stack:
        yield Machine(tmp_path, stack)


@pytest.fixture
async def cache(machine: Machine) -> Cache:
    return await machine.process()


@pytest.fixture
async def other(machine: Machine, cache: Cache) -> Cache:
    """The same cache in another process."""
    return await machine.process()


async def begin(cache: Cache, content: bytes = CONTENT, *, size: int | None = None) -> SpoolWriter:
    writer = await cache.begin(Digest.of(content), size or len(content), HUB)
    assert writer is not None
    return writer


async def fill(cache: Cache, content: bytes = CONTENT) -> None:
    writer = await begin(cache, content)
    writer.write(memoryview(content))
    await cache.commit(Digest.of(content), writer)


async def leave(cache: Cache, content: bytes = CONTENT, *, size: int | None = None) -> None:
    """Begin, write a part, and write no further."""
    writer = await begin(cache, content, size=size)
    writer.write(memoryview(content)[:1000])
    await writer.release()


async def state(cache: Cache, digest: Digest = DIGEST) -> str | None:
    known = await cache.index.contents.find(digest)
    return None if known is None else known.state


async def size(cache: Cache) -> int:
    usage = await cache.index.upkeep.usage()
    return usage[HUB.upstream].size if usage else 0


# ── changes ──────────────────────────────────────────────────────────────────────────────────


async def test_content_that_was_just_stored_is_not_begun_again(cache: Cache, other: Cache) -> None:
    await fill(cache)
    assert await other.begin(DIGEST, len(CONTENT), HUB) is None
    await other.put(DIGEST, CONTENT, HUB)
    assert await state(cache) == "stored"


async def test_only_one_process_fills(cache: Cache, other: Cache) -> None:
    writer = await begin(cache)
    assert await other.begin(DIGEST, len(CONTENT), HUB) is None
    await cache.give_up(DIGEST, writer, ConnectionLost("gone"), keep=False)
    assert await state(other) is None
    await fill(other)


async def test_content_that_is_filled_again_is_not_removed_by_who_chose_it(
    machine: Machine, cache: Cache, other: Cache
) -> None:
    await fill(cache)
    assert await cache.index.contents.take(DIGEST)
    writer = await begin(other)
    assert not machine.file(DIGEST).exists()
    await cache.remove(DIGEST)
    assert await state(cache) == "filling"
    writer.write(memoryview(CONTENT))
    await other.commit(DIGEST, writer)
    await cache.remove(DIGEST)
    assert await state(cache) == "stored"
    assert machine.file(DIGEST).read_bytes() == CONTENT


async def test_wrong_content_gives_its_room_back(cache: Cache) -> None:
    writer = await begin(cache)
    writer.write(memoryview(bytes(len(CONTENT))))
    with pytest.raises(DigestInvalid):
        await cache.commit(DIGEST, writer)
    assert await state(cache) is None
    await cache.give_up(DIGEST, writer, ConnectionLost("late"), keep=False)
    assert await size(cache) == 0


async def test_bytes_that_nobody_has_verified_are_not_taken_for_content(
    machine: Machine, cache: Cache
) -> None:
    """CA-01: of the right size and under the right name, as a power loss leaves them."""
    file = machine.file(DIGEST)
    file.parent.mkdir()
    file.write_bytes(bytes(len(CONTENT)))
    await fill(cache)
    assert file.read_bytes() == CONTENT


async def test_parts_give_way_where_nothing_else_can(machine: Machine, cache: Cache) -> None:
    """CA-03: the oldest first, and never one that is being written."""
    pieces = [CONTENT + bytes([number]) for number in range(3)]
    writer = await begin(cache, pieces[0])
    for piece in pieces[1:]:
        await leave(cache, piece)
    os.utime(machine.path / "spools" / f"sha256-{Digest.of(pieces[2]).hex}" / "102401", (0, 0))
    await fill(cache, LAYER)
    await fill(cache, LAYER + b"2")
    assert await state(cache, Digest.of(pieces[0])) == "filling"
    assert await state(cache, Digest.of(pieces[1])) == "filling"
    assert await state(cache, Digest.of(pieces[2])) is None
    assert await size(cache) <= LIMIT
    await writer.release()


async def test_what_is_being_written_does_not_give_way(cache: Cache) -> None:
    writer = await begin(cache, CONTENT, size=LIMIT)
    with pytest.raises(StoreFull):
        await cache.begin(OTHER, len(LAYER), HUB)
    assert await state(cache, OTHER) is None
    await writer.release()


# ── after a crash of the processes ───────────────────────────────────────────────────────────


async def test_what_was_being_evicted_goes(machine: Machine, cache: Cache) -> None:
    await fill(cache)
    await cache.index.contents.take(DIGEST)
    assert await CacheUpkeep(cache).recover() == 1
    assert await state(cache) is None
    assert not machine.file(DIGEST).exists()


async def test_room_that_was_promised_for_nothing_is_given_back(cache: Cache) -> None:
    await cache.index.contents.reserve(DIGEST, 1000, "docker.io", Quota(), at=0)
    assert await CacheUpkeep(cache).recover() == 1
    assert await size(cache) == 0


@pytest.mark.parametrize("remains", [False, True], ids=["nothing remains", "its spool remains"])
async def test_what_was_in_its_place_is_stored(
    machine: Machine, cache: Cache, remains: bool
) -> None:
    await cache.index.contents.reserve(DIGEST, len(CONTENT), "docker.io", Quota(), at=0)
    await cache.content.put(DIGEST, CONTENT)
    if remains:
        (machine.path / "spools" / f"sha256-{DIGEST.hex}").mkdir()
    assert await CacheUpkeep(cache).recover() == 1
    assert await cache.find(DIGEST) is not None
    assert machine.spools() == []


async def test_a_part_keeps_its_room_and_is_gone_on_with(cache: Cache, other: Cache) -> None:
    await leave(cache)
    assert await CacheUpkeep(other).recover() == 0
    assert await size(other) == len(CONTENT)
    writer = await begin(other)
    assert writer.offset == 1000
    await writer.release()


async def test_a_part_without_a_promise_goes(machine: Machine, cache: Cache) -> None:
    await leave(cache)
    await cache.index.contents.forget(DIGEST)
    assert await CacheUpkeep(cache).recover() == 1
    assert machine.spools() == []


async def test_what_another_process_is_filling_is_left_alone(cache: Cache, other: Cache) -> None:
    writer = await begin(cache)
    assert await CacheUpkeep(other).recover() == 0
    writer.write(memoryview(CONTENT))
    await cache.commit(DIGEST, writer)
    assert await other.find(DIGEST) is not None


async def test_parts_and_ingests_of_yesterday_are_dropped(machine: Machine, cache: Cache) -> None:
    await leave(cache)
    await cache.content.ingest("left", create=True)
    upkeep = CacheUpkeep(cache)
    machine.clock.time = os.stat(machine.path / "ingests" / "left").st_mtime + 3600
    assert await upkeep.drop_leftovers() == 0
    machine.clock.time += 86400
    assert await upkeep.drop_leftovers() == 2
    assert await size(cache) == 0
    assert list((machine.path / "ingests").iterdir()) == []


# ── after a crash of the machine ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("boot", "served"), [("first", True), ("second", False)])
async def test_late_content_is_compared_before_it_is_served(
    machine: Machine, cache: Cache, boot: str, served: bool
) -> None:
    """CA-08: it was not synced, and the index may remember what the disk has lost."""
    await fill(cache)
    await fill(cache, LAYER)
    machine.flip(DIGEST)
    restarted = await machine.process(boot=boot)
    await CacheUpkeep(restarted).recover()
    assert (await restarted.find(DIGEST) is not None) is served
    assert await restarted.find(OTHER) is not None
    events = await restarted.index.catalog.events(10)
    assert [event.kind for event in events] == ([] if served else ["content.corrupt"])


async def test_content_that_was_surely_written_is_trusted(machine: Machine, cache: Cache) -> None:
    await fill(cache)
    machine.clock.time += 7200
    await fill(cache, LAYER)
    restarted = await machine.process(boot="second")
    await CacheUpkeep(restarted).recover()
    stamps = [await restarted.index.contents.find(digest) for digest in (DIGEST, OTHER)]
    assert [bool(one and one.stamp) for one in stamps] == [True, False]


async def test_nothing_half_done_is_believed(machine: Machine, cache: Cache) -> None:
    await leave(cache, LAYER)
    await cache.index.contents.reserve(DIGEST, len(CONTENT), "docker.io", Quota(), at=0)
    await cache.content.put(DIGEST, CONTENT)
    machine.flip(DIGEST)
    restarted = await machine.process(boot="second")
    assert await CacheUpkeep(restarted).recover() == 2
    assert await state(restarted) is None
    assert not machine.file(DIGEST).exists()
    assert machine.spools() == []
    assert await size(restarted) == 0


async def test_index_and_disk_are_compared_once(machine: Machine, cache: Cache) -> None:
    """The last transactions may be lost, and the last files."""
    await fill(cache)
    await fill(cache, LAYER)
    machine.file(DIGEST).unlink()
    unknown = Digest.of(b"unknown")
    await cache.content.put(unknown, b"unknown")
    assert await CacheUpkeep(cache).compare() == 0
    restarted = await machine.process(boot="second")
    upkeep = CacheUpkeep(restarted)
    await upkeep.recover()
    assert await upkeep.compare() == 2
    assert not machine.file(unknown).exists()
    assert await size(restarted) == len(LAYER)
    assert not await restarted.index.crashed_machine()
    assert await upkeep.compare() == 0


# ── names and times ──────────────────────────────────────────────────────────────────────────────


async def test_names_that_lead_to_nothing_are_forgotten_after_a_month(
    machine: Machine, cache: Cache
) -> None:
    """CA-06"""
    await fill(cache)
    names, now = cache.index.names, machine.clock.now()
    await names.link("docker.io/a", blobs=[(DIGEST, len(CONTENT)), (OTHER, 5)], at=now)
    await names.link("docker.io/b", blobs=[(OTHER, 5)], at=now)
    upkeep = CacheUpkeep(cache)
    machine.clock.time = now + 29 * 86400
    assert await upkeep.drop_names() == 0
    machine.clock.time = now + 31 * 86400
    assert await upkeep.drop_names() == 2
    assert await cache.index.catalog.repositories(limit=10) == ["docker.io/a"]
    assert await cache.index.catalog.links("docker.io/a") == [DIGEST]


async def test_a_clock_that_went_back_keeps_nothing(machine: Machine, cache: Cache) -> None:
    """CA-01: what was stored in the future goes as all else does."""
    await fill(cache)
    machine.clock.time -= 1000
    upkeep = CacheUpkeep(cache)
    assert await upkeep.drop_unlinked() == 1
    await fill(cache)
    machine.clock.time -= 1000
    assert await upkeep.set_back() == 1
    known = await cache.index.contents.find(DIGEST)
    assert known is not None
    assert known.verified_at == machine.clock.now()


async def test_what_cannot_be_read_hinders_no_scrub(machine: Machine, cache: Cache) -> None:
    """CA-08: what is wrong behind it is found all the same, and it stays where it is."""
    unread = [b"unread %d" % number for number in range(30)]
    for one in unread:
        await fill(cache, one)
        machine.lock_up(Digest.of(one))
    machine.clock.time += 1
    await fill(cache, LAYER)
    machine.flip(OTHER)
    machine.clock.time += 60
    with pytest.raises(Unavailable, match="symbolic links"):
        await CacheUpkeep(cache).scrub(50, 1)
    assert await state(cache, OTHER) is None
    assert {await state(cache, Digest.of(one)) for one in unread} == {"stored"}


@pytest.mark.parametrize(
    ("pause", "done"),
    [
        pytest.param(1.0, 20, id="at least"),
        pytest.param(60.0, 24, id="so that all are done in time"),
        pytest.param(1000.0, 30, id="all"),
    ],
)
async def test_a_scrub_keeps_up_with_a_large_cache(
    machine: Machine, cache: Cache, pause: float, done: int
) -> None:
    """CA-08: each of 30 contents within 150 seconds, however often that is looked after."""
    for number in range(30):
        await fill(cache, b"%d" % number)
    machine.clock.time += 151
    await CacheUpkeep(cache).scrub(150, pause)
    due = await cache.index.upkeep.oldest_verified(100, machine.clock.now())
    assert len(due) == 30 - done
