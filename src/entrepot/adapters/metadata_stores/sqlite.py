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
from typing import Any, Concatenate

from entrepot.adapters.metadata_stores.database import P, Row, Statement, T, Transaction, Value
from entrepot.adapters.metadata_stores.sqlite_writer import SqliteWriter, refusal
from entrepot.sqlite.connections import open_reader, require_sqlite


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
        require_sqlite()
        try:
            reader = open_reader(path)
            try:
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
