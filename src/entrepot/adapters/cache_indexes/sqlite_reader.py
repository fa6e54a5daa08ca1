"""Reads: a row or two inline on the event loop, lists in a thread.

A point read takes microseconds, a hop to a thread a hundred, so it never leaves the loop; a list
may be long. The file is in WAL mode: readers and writers do not wait for each other.
"""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from entrepot.adapters.cache_indexes.sqlite_errors import sqlite_errors, translated
from entrepot.adapters.cache_indexes.sqlite_file import IndexFile
from entrepot.oci.errors import Unavailable

Row = tuple[Any, ...]


class SqliteReader:
    """Two connections of one process, which cannot write."""

    def __init__(self, file: IndexFile) -> None:
        self._path = file.path
        self._near = file.reading()
        self._far = file.reading()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache-index-reader")
        self._closed = False

    def row(self, statement: str, *parameters: object) -> Row | None:
        """Return the first row, at once. Raise Unavailable."""
        try:
            # All of them: a statement that has not ended would hold on to an old snapshot.
            rows = self._near.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self._path) from error
        return rows[0] if rows else None

    async def rows(self, statement: str, *parameters: object) -> list[Row]:
        """Return all rows, read in a thread. Raise Unavailable."""
        if self._closed:
            raise Unavailable("the cache index is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._list, statement, parameters)

    async def close(self) -> None:
        """Close the connections; lists being read are read to their end."""
        if not self._closed:
            self._closed = True
            self._near.close()
            await asyncio.to_thread(self._thread.shutdown)
            self._far.close()

    def _list(self, statement: str, parameters: tuple[object, ...]) -> list[Row]:
        with sqlite_errors(self._path):
            return self._far.execute(statement, parameters).fetchall()
