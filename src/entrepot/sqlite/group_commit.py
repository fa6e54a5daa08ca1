"""The thread in which a process writes to a SQLite file, one commit for all who wait.

What queues up during one commit is run in the next, each job behind its own savepoint: so the
cost of a commit, above all its sync, is shared, and a job that fails harms no other.
"""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

from entrepot.oci.errors import Unavailable

BATCH: Final = 64
"""Jobs in one commit at most, so that other processes get their turn."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    outcome: Future[Any]


class GroupCommit:
    """A connection and the thread that owns it. `submit` and `end` may be called anywhere.

    `file` says in words what is written to. Each commit holds `turn()`; errors are told as what
    `translated` makes of them, and `close` gives back the connection and all that belongs to it.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        file: str,
        *,
        turn: Callable[[], AbstractContextManager[None]],
        translated: Callable[[BaseException], BaseException],
        close: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._file = file
        self._turn = turn
        self._translated = translated
        self._close = close
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._ended: Future[None] | None = None
        # A process that forgets to close must still be able to exit.
        self._thread = Thread(target=self._run, name=f"writer of {file}", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Queue work; the future ends once it is committed or refused.

        What `work` raises undoes what it did. Raise Unavailable after the end.
        """
        if self._ended is not None:
            raise Unavailable(f"the {self._file} is closed")
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
                    self._refuse(running, error)
        assert self._ended is not None
        try:
            self._close()
        except (OSError, sqlite3.Error) as error:
            self._ended.set_exception(self._translated(error))
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
        with self._turn():
            self._roll_back()  # what an earlier attempt could not
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                announcements = [self._attempt(job) for job in jobs]
                self._connection.execute("COMMIT")
            except BaseException as error:
                # Before the rollback, which may fail as well: this is what went wrong first.
                self._refuse(jobs, error)
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
            result = job.work(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            return partial(job.outcome.set_exception, self._translated(error))
        self._connection.execute("RELEASE job")
        return partial(job.outcome.set_result, result)

    def _refuse(self, jobs: list[_Job], error: BaseException) -> None:
        """Tell those who have been told nothing yet."""
        for job in jobs:
            if not job.outcome.done():
                job.outcome.set_exception(self._translated(error))
