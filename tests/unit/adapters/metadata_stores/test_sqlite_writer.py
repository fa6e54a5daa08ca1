"""The writer's thread: one commit for all who wait, each transaction whole or not at all."""

import asyncio
import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import Path
from typing import IO, Any, Final

import pytest

from entrepot.adapters.metadata_stores import sqlite_writer
from entrepot.adapters.metadata_stores.database import Statement, Transaction
from entrepot.adapters.metadata_stores.sqlite_writer import SqliteWriter
from entrepot.oci.errors import Denied, StoreFull, Unavailable

SECONDS: Final = 30.0
SOME_PAGES: Final = 20

ADD: Final = Statement(sqlite="INSERT INTO word VALUES (:word)", postgresql="")
LIST: Final = Statement(sqlite="SELECT word FROM word ORDER BY word", postgresql="")


async def add(tx: Transaction, word: str) -> str:
    await tx.execute(ADD, word=word)
    return word


async def words(tx: Transaction) -> list[str]:
    return [word for (word,) in await tx.fetch_all(LIST)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "words.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE word (word TEXT PRIMARY KEY)")
    return path


class Balky(sqlite3.Connection):
    """A connection that can be made to fail a rollback."""

    stuck = False

    def execute(self, text: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if self.stuck and text == "ROLLBACK":
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(text, parameters)


class Writing:
    """A writer with its connection in view: what it runs, and how long it waits."""

    def __init__(self, path: Path) -> None:
        self.connection: Balky = sqlite3.connect(
            path, timeout=0.05, isolation_level=None, check_same_thread=False, factory=Balky
        )
        self.statements: list[str] = []
        self.connection.set_trace_callback(self.statements.append)
        self.writer = SqliteWriter(self.connection, (path.parent / "turns").open("wb"))

    def run(self, word: str) -> str:
        return self.writer.submit(lambda tx: add(tx, word)).result(SECONDS)

    def words(self) -> list[str]:
        return self.writer.submit(words).result(SECONDS)


@pytest.fixture
def writing(path: Path) -> Iterator[Writing]:
    writing = Writing(path)
    yield writing
    writing.writer.end().result(SECONDS)


@pytest.fixture
def gate(writing: Writing) -> Iterator[threading.Event]:
    """The writer is busy until this is set, so that what is submitted queues up."""
    gate, busy = threading.Event(), threading.Event()

    async def wait(tx: Transaction) -> None:
        busy.set()
        gate.wait(SECONDS)

    writing.writer.submit(wait)
    assert busy.wait(SECONDS)
    yield gate
    gate.set()


def test_what_queues_up_shares_one_commit(writing: Writing, gate: threading.Event) -> None:
    waiting = [writing.writer.submit(lambda tx, w=word: add(tx, w)) for word in "abcdefgh"]
    gate.set()
    assert [future.result(SECONDS) for future in waiting] == list("abcdefgh")
    assert writing.words() == list("abcdefgh")
    assert writing.statements.count("COMMIT") == 3  # the gate, the eight, the look


def test_a_failed_transaction_harms_no_other(writing: Writing, gate: threading.Event) -> None:
    async def refuse(tx: Transaction) -> None:
        await add(tx, "refused")
        raise Denied("no")

    before = writing.writer.submit(lambda tx: add(tx, "before"))
    refused = writing.writer.submit(refuse)
    twice = writing.writer.submit(lambda tx: add(tx, "before"))
    after = writing.writer.submit(lambda tx: add(tx, "after"))
    gate.set()
    assert (before.result(SECONDS), after.result(SECONDS)) == ("before", "after")
    assert isinstance(refused.exception(SECONDS), Denied)
    assert isinstance(twice.exception(SECONDS), sqlite3.IntegrityError)
    assert writing.words() == ["after", "before"]


def test_a_failed_commit_is_told_to_all(writing: Writing, gate: threading.Event) -> None:
    orphan = Statement(sqlite="INSERT INTO leaf VALUES (1)", postgresql="")

    async def break_a_promise(tx: Transaction) -> None:
        await tx.execute(orphan)

    gate.set()
    writing.words()
    writing.connection.execute("PRAGMA foreign_keys = ON")
    writing.connection.execute(
        "CREATE TABLE leaf (tree INTEGER REFERENCES tree (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    writing.connection.execute("CREATE TABLE tree (id INTEGER PRIMARY KEY)")
    assert isinstance(
        writing.writer.submit(break_a_promise).exception(SECONDS), sqlite3.IntegrityError
    )
    assert writing.run("later") == "later"
    assert writing.words() == ["later"]


def test_work_may_not_wait_for_anything_else(writing: Writing) -> None:
    async def dawdle(tx: Transaction) -> None:
        await add(tx, "dawdling")
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="other than its transaction"):
        writing.writer.submit(dawdle).result(SECONDS)
    assert writing.words() == []


def test_what_is_called_off_in_time_is_not_run(writing: Writing, gate: threading.Event) -> None:
    future = writing.writer.submit(lambda tx: add(tx, "unwanted"))
    assert future.cancel()
    gate.set()
    with pytest.raises(CancelledError):
        future.result(SECONDS)
    assert writing.words() == []


def test_the_end_comes_after_all_that_waits(path: Path) -> None:
    writing = Writing(path)
    waiting = [writing.writer.submit(lambda tx, w=word: add(tx, w)) for word in "abc"]
    writing.writer.end().result(SECONDS)
    assert [future.result(0) for future in waiting] == list("abc")
    with pytest.raises(Unavailable, match="closed"):
        writing.run("late")


def test_a_full_disk_is_a_full_store_until_there_is_space(writing: Writing) -> None:
    writing.connection.execute(f"PRAGMA max_page_count = {SOME_PAGES}")
    with pytest.raises(StoreFull):
        writing.run("long " * SOME_PAGES * 1000)
    assert writing.words() == []
    assert writing.run("short") == "short"


def test_a_lock_held_for_too_long_is_unavailable(writing: Writing, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            writing.run("blocked")
        other.execute("ROLLBACK")
    assert writing.run("free") == "free"


def test_a_lock_that_cannot_be_taken_is_unavailable_until_it_can(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: IO[bytes], _operation: int) -> None:
        raise OSError("no locks available")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        with pytest.raises(Unavailable, match="no locks available"):
            writing.run("refused")
    assert writing.run("later") == "later"
    assert writing.words() == ["later"]


def test_a_rollback_that_fails_is_made_up_for(writing: Writing, path: Path) -> None:
    async def give_up(tx: Transaction) -> None:
        await add(tx, "undone")
        raise SystemExit

    writing.connection.stuck = True
    assert isinstance(writing.writer.submit(give_up).exception(SECONDS), SystemExit)
    with pytest.raises(Unavailable, match="disk I/O error"):
        writing.run("refused")
    writing.connection.stuck = False
    assert writing.run("later") == "later"
    assert writing.words() == ["later"]


def test_a_file_that_left_wal_mode_is_put_back(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    SqliteWriter.open(path, durable=True).end().result(SECONDS)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_cannot_be_put_into_wal_mode_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "PATIENCE", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN")
        other.execute("SELECT * FROM word").fetchall()
        with pytest.raises(Unavailable, match=r"words\.db cannot be put into WAL mode"):
            SqliteWriter.open(path, durable=True)
        other.execute("COMMIT")
    SqliteWriter.open(path, durable=True).end().result(SECONDS)
