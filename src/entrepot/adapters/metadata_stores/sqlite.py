"""SQLite: reads inline on the event loop, writes in one thread of their own.

A point lookup takes a few microseconds, a hop to a thread a hundred, so reads never leave the
loop. Writes wait for locks and disks, so they never run on it (`sqlite_writer`). The file is
in WAL mode: readers and the writer do not wait for each other, in this process or others.

Open after forking: a SQLite connection must not cross a fork.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Concatenate, Final

from entrepot.adapters.metadata_stores.database import P, Row, Statement, T, Transaction, Value
from entrepot.adapters.metadata_stores.sqlite_writer import SqliteWriter, refusal
from entrepot.oci.errors import Unavailable

OLDEST: Final = (3, 38, 0)
"""The first SQLite that always has JSON functions; RETURNING is older."""
READ_PATIENCE: Final = 1.0
"""Seconds a read may wait, on the event loop, for another process to recover the file."""
CACHE_KIB: Final = 4096


class SqliteDatabase:
    """One SQLite file, opened by one process."""

    def __init__(self, reader: sqlite3.Connection, writer: SqliteWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    def open(cls, path: Path, *, durable: bool) -> "SqliteDatabase":
        """Open a migrated file. Raise Unavailable if it cannot be.

        If not `durable`, a commit is not synced: a power cut may undo the last ones (the file
        stays whole), a crash of the process none.
        """
        if sqlite3.sqlite_version_info < OLDEST:
            raise Unavailable(
                f"SQLite {sqlite3.sqlite_version} is too old; "
                f"run on a Python with SQLite {'.'.join(map(str, OLDEST))} or newer"
            )
        try:
            reader = sqlite3.connect(
                path, READ_PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                reader.execute("PRAGMA query_only = ON")
                reader.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
                return cls(reader, SqliteWriter.open(path, durable=durable))
            except BaseException:
                reader.close()
                raise
        except sqlite3.Error as error:
            raise refusal(error) from error

    async def fetch_one(self, statement: Statement, /, **parameters: Value) -> Row | None:
        try:
            rows = self._reader.execute(statement.sqlite, parameters).fetchall()
        except sqlite3.Error as error:
            raise refusal(error) from error
        return rows[0] if rows else None

    async def fetch_all(self, statement: Statement, /, **parameters: Value) -> list[Row]:
        try:
            return self._reader.execute(statement.sqlite, parameters).fetchall()
        except sqlite3.Error as error:
            raise refusal(error) from error

    def elements(self, values: Sequence[str] | Sequence[int]) -> Value:
        return json.dumps(values)

    async def write(
        self,
        work: Callable[Concatenate[Transaction, P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        queued = self._writer.submit(lambda transaction: work(transaction, *args, **kwargs))
        return await asyncio.wrap_future(queued)

    async def close(self) -> None:
        self._reader.close()  # first, so that the writer's thread does SQLite's last tidying up
        await asyncio.wrap_future(self._writer.end())
