"""The writer's thread: each job whole or not at all, and errors in the registry's words."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from entrepot.adapters.cache_indexes.sqlite import SqliteCacheIndex
from entrepot.adapters.cache_indexes.sqlite_file import open_file
from entrepot.adapters.cache_indexes.sqlite_writer import SqliteWriter
from entrepot.oci.errors import Denied, StoreFull, Unavailable
from entrepot.testing.cache_index_examples import NOW, OLDEST_FIRST, digest, fill, found, store


def note(connection: sqlite3.Connection, key: str, error: Exception | None = None) -> str:
    connection.execute("INSERT INTO meta (key, value) VALUES (?1, '')", (key,))
    if error:
        raise error
    return key


def keys(connection: sqlite3.Connection) -> list[str]:
    return [key for (key,) in connection.execute("SELECT key FROM meta WHERE key <> 'boot_id'")]


@pytest.fixture
def writer(path: Path) -> SqliteWriter:
    return SqliteWriter(open_file(path, "boot"))


async def end(writer: SqliteWriter) -> None:
    await asyncio.wrap_future(writer.end())


async def test_a_job_that_fails_harms_no_other(writer: SqliteWriter) -> None:
    results = await asyncio.gather(
        writer.run(note, "a"),
        writer.run(note, "b", Denied("no")),
        writer.run(note, "a"),
        writer.run(note, "c"),
        return_exceptions=True,
    )
    assert results[0] == "a"
    assert isinstance(results[1], Denied)
    assert isinstance(results[2], Unavailable)  # the same key again
    assert results[3] == "c"
    assert await writer.run(keys) == ["a", "c"]
    await end(writer)


async def test_what_is_queued_is_written_before_the_end(writer: SqliteWriter, path: Path) -> None:
    queued = [asyncio.ensure_future(writer.run(note, f"{number:03}")) for number in range(200)]
    await asyncio.sleep(0)  # so that they are queued
    await end(writer)
    assert [await one for one in queued] == [f"{number:03}" for number in range(200)]
    with pytest.raises(Unavailable, match="closed"):
        await writer.run(note, "late")
    again = SqliteWriter(open_file(path, "boot"))
    assert len(await again.run(keys)) == 200
    await end(again)


async def test_a_full_disk_is_told_and_over_when_there_is_room(
    index: SqliteCacheIndex, path: Path
) -> None:
    def pages(connection: sqlite3.Connection, most: int) -> int:
        (count,) = connection.execute(f"PRAGMA max_page_count = {most}").fetchone()
        return int(count)

    await store(index, "before")
    await index._writer.run(pages, 1)  # SQLite then allows no more than there are
    with pytest.raises(StoreFull, match=r"no space is left for the cache index .*index\.db"):
        await asyncio.gather(*(fill(index, f"{number}", 1) for number in range(2_000)))
    assert (await found(index, "before")).state == "stored"
    await index.contents.forget(digest("before"))
    await index._writer.run(pages, 1_000_000)
    await store(index, "after")


async def test_a_closed_index_refuses_everything(path: Path) -> None:
    index = await SqliteCacheIndex.open(path)
    await index.close()
    await index.close()
    with pytest.raises(Unavailable):
        await index.contents.find(digest("layer"))
    with pytest.raises(Unavailable):
        await index.upkeep.usage()
    with pytest.raises(Unavailable):
        await index.contents.stored(digest("layer"), "", OLDEST_FIRST, at=NOW)


async def test_who_stops_waiting_undoes_nothing_and_blocks_nobody(
    index: SqliteCacheIndex,
) -> None:
    waiting = [asyncio.ensure_future(fill(index, f"{number}", 1)) for number in range(50)]
    await asyncio.sleep(0)
    for one in waiting[::2]:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for number in range(1, 50, 2):
        assert (await found(index, f"{number}")).state == "filling"
    await store(index, "after")
