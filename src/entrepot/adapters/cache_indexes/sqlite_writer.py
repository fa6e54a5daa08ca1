"""The thread in which a process writes to the index, one commit for all who wait.

What queues up during one commit is run in the next, each job behind its own savepoint: so the
cost of a commit is shared, and a job that fails harms no other.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from entrepot.adapters.cache_indexes.sqlite_errors import translated
from entrepot.adapters.cache_indexes.sqlite_file import IndexFile, turn
from entrepot.oci.errors import Unavailable

BATCH: Final = 64
"""Jobs in one commit at most, so that other processes get their turn."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    outcome: Future[Any]


class SqliteWriter:
    """A connection and the thread that owns it."""

    def __init__(self, file: IndexFile) -> None:
        self._file = file
        self._connection = file.connection
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._ended: Future[None] | None = None
        # A process that forgets to close must still be able to exit.
        self._thread = Thread(target=self._run, name="cache-index-writer", daemon=True)
        self._thread.start()

    async def run(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work` in a transaction; return once it is committed.

        What `work` raises undoes what it did. Raise StoreFull, Unavailable.
        """
        if self._ended is not None:
            raise Unavailable("the cache index is closed")
        outcome: Future[T] = Future()
        self._jobs.put(_Job(lambda connection: work(connection, *args, **kwargs), outcome))
        return await asyncio.wrap_future(outcome)

    def end(self) -> "Future[None]":
        """Finish what is queued, then close the file; the future ends after that."""
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
                    self._refuse(running, error)
        assert self._ended is not None
        try:
            self._file.close()
        except (OSError, sqlite3.Error) as error:
            self._ended.set_exception(translated(error, self._file.path))
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
        with turn(self._file.turns):
            self._roll_back()  # what an earlier attempt could not
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                announcements = [self._attempt(job) for job in jobs]
                self._connection.execute("COMMIT")
            except BaseException as error:
                # Before the rollback, which may fail as well: this is what went wrong first.
                self._refuse(jobs, error)
                self._roll_back()
                return
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
            result = job.work(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            return partial(job.outcome.set_exception, translated(error, self._file.path))
        self._connection.execute("RELEASE job")
        return partial(job.outcome.set_result, result)

    def _refuse(self, jobs: list[_Job], error: BaseException) -> None:
        """Tell those who have been told nothing yet."""
        for job in jobs:
            if not job.outcome.done():
                job.outcome.set_exception(translated(error, self._file.path))
