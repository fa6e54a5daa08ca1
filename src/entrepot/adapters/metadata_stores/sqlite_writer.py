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
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any, Final

from entrepot.adapters.metadata_stores.database import Row, Statement, T, Transaction, Value
from entrepot.oci.errors import StoreFull, Unavailable

PATIENCE: Final = 5.0
"""Seconds to wait for a program other than ours that writes to the file, such as a backup.

Who waits keeps the other processes' turns waiting as well."""
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
        """Open the file for writing. Raise Unavailable or sqlite3.Error if it cannot be."""
        try:
            turns = path.with_name(path.name + "-writer").open("wb")
        except OSError as error:
            raise Unavailable(
                f"the metadata database {path} cannot be written ({error}); "
                "its folder must be writable"
            ) from error
        connection = sqlite3.connect(path, PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            with _turn(turns):
                _keep_a_log(connection, path)
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        except BaseException:
            connection.close()
            turns.close()
            raise
        return cls(connection, turns)

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
                try:
                    self._commit(running)
                except BaseException as error:  # this thread is the only one there is
                    _refuse(running, error)
        assert self._ended is not None
        try:
            self._connection.close()
            self._turns.close()
        except (OSError, sqlite3.Error) as error:
            self._ended.set_exception(_translated(error))
        else:
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
        """Run jobs in one transaction; tell each what became of it after the commit.

        Raise what kept it from that; jobs that were told nothing were not committed.
        """
        with _turn(self._turns):
            self._roll_back()  # what an earlier attempt could not
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                announcements = [self._attempt(job) for job in jobs]
                self._connection.execute("COMMIT")
            except BaseException as error:
                # Before the rollback, which may fail as well: this is what went wrong first.
                _refuse(jobs, error)
                self._roll_back()
            else:
                for announce in announcements:
                    announce()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

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


@contextmanager
def _turn(turns: IO[bytes]) -> Iterator[None]:
    """Hold the lock that processes take turns by. Raise Unavailable if it cannot be had."""
    try:
        fcntl.flock(turns, fcntl.LOCK_EX)
    except OSError as error:
        raise Unavailable(
            f"the lock beside the metadata database cannot be taken ({error}); try again later"
        ) from error
    try:
        yield
    finally:
        fcntl.flock(turns, fcntl.LOCK_UN)


def _keep_a_log(connection: sqlite3.Connection, path: Path) -> None:
    """Put the file into WAL mode: a copy or a restored backup may have left it."""
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.OperationalError as error:
        raise Unavailable(
            f"the metadata database {path} cannot be put into WAL mode ({error}); it must be "
            "writable, and no other program may use it meanwhile"
        ) from error
    if mode != "wal":
        raise Unavailable(
            f"the metadata database {path} cannot be put into WAL mode (it stays in mode {mode}); "
            "keep it on a local disk"
        )


def _refuse(jobs: list[_Job], error: BaseException) -> None:
    """Tell those who have been told nothing yet."""
    for job in jobs:
        if not job.outcome.done():
            job.outcome.set_exception(_translated(error))


def _translated(error: BaseException) -> BaseException:
    if not isinstance(error, sqlite3.Error):
        return error
    translated = refusal(error)
    if translated is not error:
        translated.__cause__ = error
    return translated
