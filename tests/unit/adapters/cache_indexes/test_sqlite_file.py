"""The file: new, old, newer, foreign, corrupt, in use, out of reach."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.adapters.cache_indexes.sqlite import SqliteCacheIndex
from entrepot.adapters.cache_indexes.sqlite_errors import marker
from entrepot.adapters.cache_indexes.sqlite_file import open_file
from entrepot.adapters.cache_indexes.sqlite_schema import APPLICATION, MIGRATIONS, migrate
from entrepot.oci.errors import Unavailable
from entrepot.testing.cache_index_examples import NOW, OLDEST_FIRST, digest, found, store

PAGE = 4096


async def filled(path: Path, count: int = 1) -> None:
    """Leave an index at `path` with some content."""
    index = await SqliteCacheIndex.open(path)
    for number in range(count):
        await store(index, f"layer {number}")
    await index.close()


def damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        (page,) = connection.execute(query, (table,)).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xaa" * PAGE)


def read(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def folder(path: Path) -> None:
    path.mkdir()


class Later:
    """A clock."""

    def now(self) -> float:
        return NOW + 5


def number(path: Path, pragma: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


async def test_a_new_file_says_what_it_is(path: Path) -> None:
    await filled(path)
    assert number(path, "application_id") == APPLICATION
    assert number(path, "user_version") == len(MIGRATIONS)
    assert number(path, "journal_mode") == "wal"


def test_an_older_file_is_brought_up_to_date(path: Path) -> None:
    today = (("CREATE TABLE first (word TEXT)",),)
    tomorrow = (
        *today,
        ("ALTER TABLE first ADD COLUMN number INTEGER DEFAULT 7", "CREATE TABLE second (x)"),
        ("INSERT INTO second SELECT number FROM first",),
    )
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert migrate(connection, today)
        connection.execute("INSERT INTO first VALUES ('kept')")
        assert not migrate(connection, tomorrow)
        assert connection.execute("SELECT * FROM first, second").fetchall() == [("kept", 7, 7)]
        assert not migrate(connection, tomorrow)
        assert connection.execute("SELECT count(*) FROM second").fetchone() == (1,)


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    broken = (*MIGRATIONS, ("CREATE TABLE more (x)", "INSERT INTO nowhere VALUES (1)"))
    open_file(path, "boot").close()
    with pytest.raises(Unavailable, match="nowhere"):
        open_file(path, "boot", broken)
    assert number(path, "user_version") == len(MIGRATIONS)
    open_file(path, "boot").close()


async def test_a_newer_file_is_refused_and_left_as_it_is(path: Path) -> None:
    await filled(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = read(path)
    with pytest.raises(Unavailable, match="newer Entrepot") as refusal:
        await SqliteCacheIndex.open(path)
    assert str(path) in refusal.value.message
    assert read(path) == before


async def test_another_programs_database_is_refused_and_left_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipe (name TEXT)")
    with pytest.raises(Unavailable, match="is not a cache index"):
        await SqliteCacheIndex.open(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM recipe").fetchall() == []


async def test_a_missing_folder_is_told(path: Path) -> None:
    with pytest.raises(Unavailable, match="its folder must be there"):
        await SqliteCacheIndex.open(path.parent / "missing" / "index.db")


async def test_what_cannot_be_a_file_is_told(path: Path) -> None:
    folder(path)
    with pytest.raises(Unavailable, match=r"index\.db cannot be used .*unable to open"):
        await SqliteCacheIndex.open(path)


@pytest.mark.parametrize(
    "content", [b"not a database" * PAGE, b"SQLite format 3\x00" + b"\xaa" * PAGE]
)
async def test_a_corrupt_file_is_set_aside_and_told(path: Path, content: bytes) -> None:
    """CA-08: the bytes stay; upkeep adopts or drops them."""
    write(path, content)
    index = await SqliteCacheIndex.open(path, clock=Later())
    (event,) = await index.catalog.events(10)
    assert (event.kind, event.at) == ("index.corrupt", NOW + 5)
    await store(index, "layer")
    await index.close()
    assert read(path.with_name("index.db.aside")) == content
    index = await SqliteCacheIndex.open(path)
    assert await index.catalog.events(10) == [event]
    assert (await found(index, "layer")).state == "stored"
    await index.close()


async def test_a_file_found_corrupt_while_it_is_used_is_set_aside_at_the_next_start(
    path: Path,
) -> None:
    await filled(path, 200)
    damage(path, "content")
    index = await SqliteCacheIndex.open(path)
    with pytest.raises(Unavailable, match=r"corrupt .*; restart the server"):
        await index.upkeep.contents(limit=1000)
    assert marker(path).exists()
    with pytest.raises(Unavailable, match="other processes have it open"):
        await SqliteCacheIndex.open(path)
    await index.close()
    index = await SqliteCacheIndex.open(path)
    assert [event.kind for event in await index.catalog.events(10)] == ["index.corrupt"]
    assert await index.upkeep.contents(limit=1000) == []
    assert not marker(path).exists()
    await index.close()


async def test_setting_aside_goes_on_after_a_crash_in_the_middle(path: Path) -> None:
    """What the log holds must never get into the new file."""
    await filled(path)
    index = await SqliteCacheIndex.open(path)
    await store(index, "in the log")
    log, kept = read(path.with_name("index.db-wal")), read(path)
    await index.close()
    assert log
    write(path, kept)
    write(path.with_name("index.db-wal"), log)
    marker(path).touch()
    index = await SqliteCacheIndex.open(path)
    assert await index.upkeep.contents(limit=10) == []
    await index.close()
    assert read(path.with_name("index.db.aside-wal")) == log


async def test_a_restart_of_the_machine_is_told_until_it_was_seen_to(path: Path) -> None:
    first = await SqliteCacheIndex.open(path, boot="monday")
    assert not await first.crashed_machine()
    await first.close()
    first = await SqliteCacheIndex.open(path, boot="monday")
    assert not await first.crashed_machine()
    await first.close()
    workers = [await SqliteCacheIndex.open(path, boot="tuesday") for _ in range(2)]
    assert [await worker.crashed_machine() for worker in workers] == [True, True]
    await workers[0].machine_checked()
    assert [await worker.crashed_machine() for worker in workers] == [False, False]
    for worker in workers:
        await worker.close()


async def test_this_machine_was_not_restarted(path: Path) -> None:
    await filled(path)
    index = await SqliteCacheIndex.open(path)
    assert not await index.crashed_machine()
    await index.contents.stored(digest("layer"), "", OLDEST_FIRST, at=NOW)
    await index.close()
