"""The thread in which a process writes to SQLite, one commit for all who wait.

What queues up while the disk syncs one commit is run in the next, each transaction behind its
own savepoint: so the sync, the only slow part, is shared, and a failed one harms no other.

Processes take turns by a lock on a file of its own. SQLite's lock alone would do, but who waits
for it sleeps and asks again, and under load the same process wins again and again; for a file
lock the kernel wakes them in order.
"""

import fcntl
import json
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any, Final

from entrepot.adapters.metadata_stores.database import Row, Statement, T, Transaction, Value
from entrepot.oci.errors import StoreFull, Unavailable

PATIENCE: Final = 30.0
"""Seconds to wait for a program other than ours that writes to the file, such as a backup."""
BATCH: Final = 64
"""Transactions in one commit at most, so that other processes get their turn."""
LOG_BYTES: Final = 64 * 1024 * 1024
"""What the write-ahead log is cut back to after a burst."""

Work = Callable[[Transaction], Coroutine[Any, Any, T]]


def refusal(error: sqlite3.Error) -> Exception:
    """Return what to raise for an error of SQLite; a broken rule of the schema is a bug."""
    if isinstance(error, sqlite3.IntegrityError):
        return error
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return StoreFull("no space is left for the metadata database; free some, then try again")
    return Unavailable(f"the metadata database cannot be used ({error}); try again later")


class SqliteTransaction:
    """The open transaction of the writer's connection. Its methods never suspend."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def fetch_one(self, statement: Statement, /, **parameters: Value) -> Row | None:
        rows = self._connection.execute(statement.sqlite, parameters).fetchall()
        return rows[0] if rows else None

    async def fetch_all(self, statement: Statement, /, **parameters: Value) -> list[Row]:
        return self._connection.execute(statement.sqlite, parameters).fetchall()

    async def execute(self, statement: Statement, /, **parameters: Value) -> int:
        return self._connection.execute(statement.sqlite, parameters).rowcount

    def elements(self, values: Sequence[str] | Sequence[int]) -> Value:
        return json.dumps(values)


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work[Any]
    outcome: Future[Any]


class SqliteWriter:
    """A connection and the thread that owns it. `submit` and `end` may be called anywhere."""

    def __init__(self, connection: sqlite3.Connection, turns: IO[bytes]) -> None:
        self._connection = connection
        self._turns = turns
        self._transaction = SqliteTransaction(connection)
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._ended: Future[None] | None = None
        # A process that forgets to close must still be able to exit.
        self._thread = Thread(target=self._run, name="metadata-writer", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, *, durable: bool) -> "SqliteWriter":
        """Open the file for writing. Raise sqlite3.Error if it cannot be."""
        connection = sqlite3.connect(path, PATIENCE, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        return cls(connection, path.with_name(path.name + "-writer").open("wb"))

    def submit(self, work: Work[T]) -> "Future[T]":
        """Queue work; the future ends once it is committed or refused."""
        if self._ended is not None:
            raise Unavailable("the metadata database is closed")
        outcome: Future[T] = Future()
        self._jobs.put(_Job(work, outcome))
        return outcome

    def end(self) -> "Future[None]":
        """Finish what is queued, then close the connection; the future ends after that."""
        if self._ended is None:
            self._ended = Future()
            self._ended.set_running_or_notify_cancel()  # the end cannot be called off
            self._jobs.put(None)
        return self._ended

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs = [first, *self._waiting(BATCH - 1)]
            running = [job for job in jobs if job.outcome.set_running_or_notify_cancel()]
            if running:
                self._commit(running)
        self._connection.close()
        self._turns.close()
        assert self._ended is not None
        self._ended.set_result(None)

    def _waiting(self, limit: int) -> list[_Job]:
        """Take what is queued already, but not the end."""
        jobs: list[_Job] = []
        while len(jobs) < limit:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            jobs.append(job)
        return jobs

    def _commit(self, jobs: list[_Job]) -> None:
        """Run jobs in one transaction; tell each what became of it after the commit."""
        fcntl.flock(self._turns, fcntl.LOCK_EX)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            announcements = [self._attempt(job) for job in jobs]
            self._connection.execute("COMMIT")
        except Exception as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for job in jobs:
                job.outcome.set_exception(_translated(error))
        else:
            for announce in announcements:
                announce()
        finally:
            fcntl.flock(self._turns, fcntl.LOCK_UN)

    def _attempt(self, job: _Job) -> Callable[[], None]:
        """Run one job behind a savepoint; return how to announce its result.

        Raise what happened if SQLite gave up the whole transaction.
        """
        self._connection.execute("SAVEPOINT job")
        try:
            result = _drive(job.work(self._transaction))
        except Exception as error:
            if not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            return partial(job.outcome.set_exception, _translated(error))
        self._connection.execute("RELEASE job")
        return partial(job.outcome.set_result, result)


def _drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that only awaits what never suspends, without an event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("work in a transaction awaited something other than its transaction")


def _translated(error: Exception) -> Exception:
    if not isinstance(error, sqlite3.Error):
        return error
    translated = refusal(error)
    if translated is not error:
        translated.__cause__ = error
    return translated
