"""The cache index on one SQLite file, shared by the processes of one machine.

Opened after forking, in every process: a SQLite connection must not cross a fork. Commits are
not synced (`synchronous = NORMAL`): a process may die at any point and nothing is lost; a power
cut may undo the last commits, though never a part of one. Then files may be missing that the
index believes to be there: whoever starts the server asks `crashed_machine`, compares, and says
`machine_checked`.
"""

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Final

from entrepot.adapters.cache_indexes import sqlite_statements as sql
from entrepot.adapters.cache_indexes.sqlite_contents import SqliteContents
from entrepot.adapters.cache_indexes.sqlite_file import BOOT, IndexFile, open_file
from entrepot.adapters.cache_indexes.sqlite_names import SqliteCatalog, SqliteNames
from entrepot.adapters.cache_indexes.sqlite_reader import SqliteReader
from entrepot.adapters.cache_indexes.sqlite_upkeep import SqliteUpkeep
from entrepot.adapters.cache_indexes.sqlite_writer import SqliteWriter
from entrepot.ports.cache_index import CacheEvent
from entrepot.ports.clock import Clock

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        return time.time()


class SqliteCacheIndex:
    """See `CacheIndex`; open one with `open`."""

    def __init__(self, file: IndexFile, clock: Clock, boot: str) -> None:
        self._reader = SqliteReader(file)
        self._writer = SqliteWriter(file)
        self._boot = boot
        self.names = SqliteNames(self._reader, self._writer, clock.now)
        self.catalog = SqliteCatalog(self._reader, self._writer)
        self.contents = SqliteContents(self._reader, self._writer)
        self.upkeep = SqliteUpkeep(self._reader, self._writer)

    @classmethod
    async def open(
        cls, path: Path, *, clock: Clock | None = None, boot: str | None = None
    ) -> "SqliteCacheIndex":
        """Open the index at `path`, which is made if it is not there; its folder must be.

        A corrupt file is set aside and an empty one made, with an event `index.corrupt`. `boot` is
        the machine's boot id unless told otherwise. Raise StoreFull, or Unavailable also for a
        file of a newer version, or of something else.
        """
        clock = clock or SystemClock()
        boot = _boot_id() if boot is None else boot
        file = await asyncio.to_thread(open_file, path, boot)
        try:
            index = cls(file, clock, boot)
        except BaseException:
            file.close()
            raise
        if file.was_corrupt:
            detail = f"set aside as {path.name}.aside; the index was begun anew, without its pins"
            event = CacheEvent("index.corrupt", "", path.name, detail, clock.now())
            try:
                await index.catalog.record(event)
            except BaseException:
                await index.close()
                raise
        return index

    async def crashed_machine(self) -> bool:
        """Return whether the machine was restarted since `machine_checked`, or since the index
        was made: stored content may then be missing, and removed content be there."""
        row = self._reader.row(sql.META, BOOT)
        return row is not None and row[0] != self._boot

    async def machine_checked(self) -> None:
        """Say that the index agrees with the files since the machine was restarted."""
        await self._writer.run(_set_boot, self._boot)

    async def close(self) -> None:
        await self._reader.close()  # first, so that the writer's thread does the last tidying up
        await asyncio.wrap_future(self._writer.end())


def _set_boot(connection: sqlite3.Connection, boot: str) -> None:
    connection.execute(sql.SET_META, (BOOT, boot))


def _boot_id() -> str:
    """Return what is another after each start of the machine; empty where it cannot be known."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
