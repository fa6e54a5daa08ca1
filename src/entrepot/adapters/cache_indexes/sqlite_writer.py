"""Writing to the index: jobs in the thread that commits for all who wait."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from entrepot.adapters.cache_indexes.sqlite_errors import translated
from entrepot.adapters.cache_indexes.sqlite_file import IndexFile
from entrepot.sqlite.group_commit import GroupCommit

P = ParamSpec("P")
T = TypeVar("T")


class SqliteWriter:
    """The writing side of an open index, which closes the file in the end."""

    def __init__(self, file: IndexFile) -> None:
        self._commits = GroupCommit(
            file.connection,
            "cache index",
            turn=file.turn,
            translated=partial(translated, path=file.path),
            close=file.close,
        )

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
        queued = self._commits.submit(lambda connection: work(connection, *args, **kwargs))
        return await asyncio.wrap_future(queued)

    def end(self) -> "Future[None]":
        """Finish what is queued, then close the file; the future ends after that."""
        return self._commits.end()
