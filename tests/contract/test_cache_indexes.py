"""Every cache index, and the fake, keeps the contract."""

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from entrepot.adapters.cache_indexes.sqlite import SqliteCacheIndex
from entrepot.oci.reference import Tag
from entrepot.ports.cache_index import CacheIndex, Quota
from entrepot.testing import CacheIndexSuite, MemoryCacheIndex
from entrepot.testing.cache_index_examples import (
    ALPINE,
    HUB,
    NOW,
    OLDEST_FIRST,
    digest,
    fill,
    found,
    manifest,
    sizes,
    store,
    verify_sums,
)

WRONG: Final = {
    "usage": """
        SELECT upstream FROM usage WHERE (size, items) IS NOT (
            SELECT coalesce(sum(size), 0), count(*) FROM content
            WHERE content.upstream = usage.upstream)
    """,
    "usage that is missing": """
        SELECT upstream FROM content WHERE upstream NOT IN (SELECT upstream FROM usage)
    """,
    "shelf": """
        SELECT queue, upstream FROM shelf WHERE size <> (
            SELECT coalesce(sum(size), 0) FROM content
            WHERE (content.queue, content.upstream) = (shelf.queue, shelf.upstream)
              AND state = 'stored' AND pinned = 0)
    """,
    "shelf that is missing": """
        SELECT digest FROM content WHERE state = 'stored' AND pinned = 0
            AND (queue, upstream) NOT IN (SELECT queue, upstream FROM shelf)
    """,
    "links": """
        SELECT digest FROM content WHERE links <> (
            SELECT count(*) FROM link WHERE link.digest = content.digest)
    """,
    "pins": """
        SELECT digest FROM content WHERE pinned <> EXISTS (
            SELECT 1 FROM pin WHERE pin.digest = content.digest)
    """,
    "tags without a link": """
        SELECT name FROM tag WHERE NOT EXISTS (
            SELECT 1 FROM link WHERE kind = 1
            AND (link.repository, link.digest) = (tag.repository, tag.digest))
    """,
}


def verify_file(path: Path) -> None:
    """Count everything anew, behind the port's back."""
    with closing(sqlite3.connect(path)) as connection:
        for what, query in WRONG.items():
            assert connection.execute(query).fetchall() == [], what
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


class TestMemory(CacheIndexSuite):
    @pytest.fixture
    def index(self) -> MemoryCacheIndex:
        return MemoryCacheIndex(now=lambda: 0.0)


class Stopped:
    """A clock that stands still, so that nothing expires."""

    def now(self) -> float:
        return 0.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


class TestSqlite(CacheIndexSuite):
    path: Path

    @pytest.fixture
    async def index(self, path: Path) -> AsyncIterator[SqliteCacheIndex]:
        self.path = path
        index = await SqliteCacheIndex.open(path, clock=Stopped())
        yield index
        await index.close()
        verify_file(path)

    async def verify(self, index: CacheIndex) -> None:
        await super().verify(index)
        verify_file(self.path)


class TestSeveralOfOneFile:
    """What one process writes, the next one reads at once, and after a restart."""

    @pytest.fixture
    async def pair(self, path: Path) -> AsyncIterator[tuple[SqliteCacheIndex, SqliteCacheIndex]]:
        both = await SqliteCacheIndex.open(path), await SqliteCacheIndex.open(path)
        yield both
        for index in both:
            await index.close()
        verify_file(path)

    async def test_what_one_writes_the_other_reads(
        self, pair: tuple[SqliteCacheIndex, SqliteCacheIndex]
    ) -> None:
        one, other = pair
        for number in range(10):
            await store(one, f"layer {number}")
            assert (await found(other, f"layer {number}")).state == "stored"
            await other.names.set_tag(ALPINE, Tag(f"v{number}"), manifest(f"{number}"), at=NOW)
            assert await one.names.tag(ALPINE, Tag(f"v{number}")) is not None
        chosen = await other.contents.choose(OLDEST_FIRST, None, 10, 0, at=NOW)
        assert (await one.contents.find(chosen[0].digest)) == chosen[0]

    async def test_together_they_reserve_no_more_than_there_is(
        self, pair: tuple[SqliteCacheIndex, SqliteCacheIndex]
    ) -> None:
        """CA-04"""
        answers = await asyncio.gather(
            *(
                index.contents.reserve(
                    digest(f"{turn} {number}"), 10, HUB, Quota(total=200), at=NOW
                )
                for number in range(30)
                for turn, index in enumerate(pair)
            )
        )
        assert answers.count(0) == 20
        assert await sizes(pair[0]) == await sizes(pair[1]) == {HUB: 200}

    async def test_no_content_is_chosen_twice(
        self, pair: tuple[SqliteCacheIndex, SqliteCacheIndex]
    ) -> None:
        for number in range(40):
            await store(pair[0], f"{number}", 10)
        answers = await asyncio.gather(
            *(
                index.contents.choose(OLDEST_FIRST, None, 15, 0, at=NOW)
                for _ in range(10)
                for index in pair
            )
        )
        chosen = [content.digest for contents in answers for content in contents]
        assert len(chosen) == len(set(chosen)) == 40

    async def test_everything_is_there_after_a_restart(self, path: Path) -> None:
        """CA-04: also the order in which content goes."""
        index = await SqliteCacheIndex.open(path)
        for number in range(5):
            await store(index, f"{number}", 10, at=NOW + number)
        await index.upkeep.touch({digest("0"): (1, NOW + 9)}, OLDEST_FIRST)
        await fill(index, "filling", 10)
        await index.names.set_tag(ALPINE, Tag("latest"), manifest("image"), at=NOW)
        before = (
            await index.upkeep.contents(limit=10),
            await index.upkeep.usage(),
            await index.catalog.tags(ALPINE),
        )
        await index.close()
        index = await SqliteCacheIndex.open(path)
        assert before == (
            await index.upkeep.contents(limit=10),
            await index.upkeep.usage(),
            await index.catalog.tags(ALPINE),
        )
        chosen = await index.contents.choose(OLDEST_FIRST, None, 50, 0, at=NOW + 10)
        assert [one.digest for one in chosen] == [digest(name) for name in "12340"]
        await index.close()


LIMIT: Final = 1_000
TASKS: Final = 25
PULLER: Final = """
import asyncio, fcntl, os, random, sys, time
from contextlib import contextmanager
from pathlib import Path
from entrepot.adapters.cache_indexes.sqlite import SqliteCacheIndex
from entrepot.ports.cache_index import Quota, Usage
from entrepot.testing.cache_index_examples import HUB, OLDEST_FIRST, digest

root, seed, tasks, limit = Path(sys.argv[1]), *map(int, sys.argv[2:])
digests = [digest(f"{number}") for number in range(80)]

@contextmanager
def turn(one):
    with (root / "locks" / one.hex).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True

async def pull(index, one, size, at):
    known = await index.contents.find(one)
    if known is not None and known.state == "stored":
        return await index.upkeep.touch({one: (1, at)}, OLDEST_FIRST)
    lacking = await index.contents.reserve(one, size, HUB, Quota(total=limit), at=at)
    if lacking:
        for victim in await index.contents.choose(OLDEST_FIRST, None, lacking, limit, at=at):
            with turn(victim.digest) as mine:
                if mine:
                    (root / "blobs" / victim.digest.hex).unlink(missing_ok=True)
                    await index.contents.forget(victim.digest, state="evicting")
        return
    arriving = root / f"arriving-{one.hex}"
    arriving.write_bytes(bytes(size))
    await asyncio.sleep(0)
    arriving.rename(root / "blobs" / one.hex)
    await index.contents.stored(one, "stamp", OLDEST_FIRST, at=at)

async def client(index, rng):
    while True:
        number = rng.randrange(80)
        with turn(digests[number]) as mine:
            if mine:
                await pull(index, digests[number], 5 + number, time.time())
        await index.upkeep.count(HUB, Usage(hits=1))
        os.write(1, b".")

async def main():
    index = await SqliteCacheIndex.open(root / "index.db")
    await asyncio.gather(*(client(index, random.Random(seed * 1000 + n)) for n in range(tasks)))

asyncio.run(main())
"""


async def recover(index: CacheIndex, blobs: Path) -> None:
    """Put right what the killed have left, as the cache does when it starts."""
    for content in await index.contents.unfinished():
        file = blobs / content.digest.hex
        if content.state == "filling" and file.exists():
            await index.contents.stored(content.digest, "", OLDEST_FIRST, at=time.time())
        else:
            file.unlink(missing_ok=True)
            await index.contents.forget(content.digest)


async def kill_while_pulling(root: Path, seed: int, operations: int) -> int:
    """Kill two processes, 50 tasks in all, after so many operations; return how many they did."""
    done = 0
    pullers = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PULLER, str(root), str(seed + n), str(TASKS), str(LIMIT)),
            stdout=subprocess.PIPE,
        )
        for n in range(2)
    ]
    try:
        for puller in pullers:
            assert puller.stdout is not None
            done += len(await puller.stdout.readexactly(operations // 2))
    finally:
        for puller in pullers:
            puller.kill()
    for puller in pullers:
        assert puller.stdout is not None
        done += len(await puller.stdout.read())
        assert await puller.wait() == -signal.SIGKILL
    return done


@pytest.mark.parametrize(
    ("rounds", "operations"), [(1, 200), pytest.param(8, 1_000, marks=pytest.mark.slow)]
)
async def test_sizes_are_exact_whenever_processes_are_killed(
    tmp_path: Path, path: Path, rounds: int, operations: int
) -> None:
    """CA-04: 50 tasks in two processes, killed in the middle; sizes and order are kept."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (tmp_path / "locks").mkdir()
    acknowledged = kept = 0
    for turn in range(rounds):
        acknowledged += await kill_while_pulling(tmp_path, 2 * turn, operations)
        verify_file(path)
        index = await SqliteCacheIndex.open(path)
        usage = (await index.upkeep.usage())[HUB]
        assert acknowledged <= usage.hits <= acknowledged + 2 * TASKS * (turn + 1)
        assert usage.size <= LIMIT
        await recover(index, blobs)
        await verify_sums(index)
        contents = await index.upkeep.contents(limit=1_000)
        # None, if all of them were filling at that moment.
        assert {one.state for one in contents} <= {"stored"}
        kept += len(contents)
        on_disk = {file.name: file.stat().st_size for file in blobs.iterdir()}
        assert {one.digest.hex: one.size for one in contents} == on_disk
        await index.close()
    assert kept or rounds == 1
    index = await SqliteCacheIndex.open(path)
    contents = await index.upkeep.contents(limit=1_000)
    going = await index.contents.choose(OLDEST_FIRST, None, LIMIT, LIMIT, at=time.time())
    assert [one.used_at for one in going] == sorted(one.used_at for one in contents)
    await index.close()


async def test_a_process_killed_in_the_middle_of_a_commit_harms_nobody(path: Path) -> None:
    """The next one opens the file and writes at once, whatever the other was about to write."""
    rng = random.Random(7)
    for turn in range(3):
        writer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WRITER, str(path), str(turn)), stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        await writer.stdout.readexactly(rng.randrange(1, 30))
        writer.kill()
        await writer.communicate()
        index = await SqliteCacheIndex.open(path)
        await store(index, f"after {turn}")
        repositories = await index.catalog.repositories(limit=1_000)
        for repository in repositories:
            assert len(await index.catalog.links(repository)) == 100
        await index.close()
        verify_file(path)


WRITER: Final = """
import asyncio, os, sys
from pathlib import Path
from entrepot.adapters.cache_indexes.sqlite import SqliteCacheIndex
from entrepot.testing.cache_index_examples import NOW, digest

async def main():
    index = await SqliteCacheIndex.open(Path(sys.argv[1]))
    blobs = [(digest(f"{number}"), 1) for number in range(100)]
    for number in range(10_000):
        await index.names.link(f"docker.io/{sys.argv[2]}/{number}", blobs=blobs, at=NOW)
        os.write(1, b".")

asyncio.run(main())
"""
