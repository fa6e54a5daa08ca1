"""Writing to the metadata in SQLite: transactions in the thread that commits for all who wait.

Work is a coroutine over a transaction, as for every engine; here it never suspends, so that the
thread runs it without an event loop.
"""

import json
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, Final

from entrepot.adapters.metadata_stores.database import Row, Statement, T, Transaction, Value
from entrepot.oci.errors import StoreFull, Unavailable
from entrepot.sqlite.connections import LOG_BYTES, PATIENCE, turn
from entrepot.sqlite.group_commit import GroupCommit

_FILE: Final = "the metadata database"

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


class SqliteWriter:
    """A connection and the thread that owns it. `submit` and `end` may be called anywhere."""

    def __init__(self, connection: sqlite3.Connection, turns: IO[bytes]) -> None:
        self._connection = connection
        self._turns = turns
        self._transaction = SqliteTransaction(connection)
        self._commits = GroupCommit(
            connection,
            "metadata database",
            turn=lambda: turn(turns, _FILE),
            translated=_translated,
            close=self._close,
        )

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
            with turn(turns, _FILE):
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
        return self._commits.submit(lambda _: _drive(work(self._transaction)))

    def end(self) -> "Future[None]":
        """Finish what is queued, then close the connection; the future ends after that."""
        return self._commits.end()

    def _close(self) -> None:
        self._connection.close()
        self._turns.close()


def _drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that only awaits what never suspends, without an event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("work in a transaction awaited something other than its transaction")


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


def _translated(error: BaseException) -> BaseException:
    if not isinstance(error, sqlite3.Error):
        return error
    translated = refusal(error)
    if translated is not error:
        translated.__cause__ = error
    return translated
