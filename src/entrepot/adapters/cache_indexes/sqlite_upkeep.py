"""What is noted of content as it is used and checked: uses, stamps, pins, counters."""

import sqlite3
from collections.abc import Mapping, Sequence

from entrepot.adapters.cache_indexes import sqlite_statements as sql
from entrepot.adapters.cache_indexes.sqlite_contents import content
from entrepot.adapters.cache_indexes.sqlite_reader import SqliteReader
from entrepot.adapters.cache_indexes.sqlite_shelf import entry, inflation, put, queue_of
from entrepot.adapters.cache_indexes.sqlite_writer import SqliteWriter
from entrepot.oci.digest import Digest
from entrepot.ports.cache_index import CachedContent, Usage
from entrepot.rules.eviction import Policy


class SqliteUpkeep:
    """See `CacheUpkeep`."""

    def __init__(self, reader: SqliteReader, writer: SqliteWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def touch(self, uses: Mapping[Digest, tuple[int, float]], policy: Policy) -> None:
        rows = [(str(digest), count, last) for digest, (count, last) in uses.items()]
        await self._writer.run(_touch, rows, policy)

    async def verified(self, digest: Digest, stamp: str, *, at: float) -> None:
        await self._writer.run(_execute, sql.VERIFIED, str(digest), stamp, at)

    async def distrust(self, within: float) -> int:
        return await self._writer.run(_distrust, within)

    async def set_back(self, now: float) -> int:
        if not await self._reader.rows(sql.AHEAD, now):  # as ever: nobody need wait for the writer
            return 0
        return await self._writer.run(_set_back, now)

    async def oldest_verified(self, limit: int, before: float) -> Sequence[CachedContent]:
        rows = await self._reader.rows(sql.OLDEST_VERIFIED, limit, before)
        return [content(row) for row in rows]

    async def pin(self, digests: Sequence[Digest], pinned: bool) -> int:
        return await self._writer.run(_pin, [str(digest) for digest in digests], pinned)

    async def count(self, upstream: str, changes: Usage) -> None:
        counters = (
            changes.hits,
            changes.misses,
            changes.stale,
            changes.coalesced,
            changes.evictions,
            changes.evicted_bytes,
            changes.fetched_bytes,
            changes.served_bytes,
        )
        await self._writer.run(_execute, sql.COUNT, upstream, *counters)

    async def usage(self) -> Mapping[str, Usage]:
        rows = await self._reader.rows(sql.USAGE)
        return {upstream: Usage(*sums) for upstream, *sums in rows if any(sums)}

    async def contents(
        self, upstream: str | None = None, *, after: Digest | None = None, limit: int
    ) -> Sequence[CachedContent]:
        start = "" if after is None else str(after)
        if upstream is None:
            rows = await self._reader.rows(sql.CONTENTS, start, limit)
        else:
            rows = await self._reader.rows(sql.CONTENTS_OF_UPSTREAM, start, limit, upstream)
        return [content(row) for row in rows]


def _execute(connection: sqlite3.Connection, statement: str, *parameters: object) -> None:
    connection.execute(statement, parameters)


def _distrust(connection: sqlite3.Connection, within: float) -> int:
    return connection.execute(sql.DISTRUST, (within,)).rowcount


def _set_back(connection: sqlite3.Connection, now: float) -> int:
    return connection.execute(sql.SET_BACK, (now,)).rowcount


def _touch(
    connection: sqlite3.Connection, uses: Sequence[tuple[str, int, float]], policy: Policy
) -> None:
    for digest, count, last in uses:
        rows = connection.execute(sql.ENTRY, (digest,)).fetchall()
        if not rows:
            continue
        *row, state, upstream = rows[0]
        if state == "stored":
            known = entry(row)
            high = inflation(connection, policy.name, upstream)
            if row[4] == queue_of(policy.name, known.placement.queue):
                at = max(last, known.used_at)  # another process may have told of a later use
                place = policy.hit(known, at, count=count, inflation=high)
                put(connection, sql.PLACE, policy.name, place, digest)
        connection.execute(sql.USE, (digest, count, last))


def _pin(connection: sqlite3.Connection, digests: Sequence[str], pinned: bool) -> int:
    changed = 0
    for digest in digests:
        changed += connection.execute(sql.PIN if pinned else sql.UNPIN, (digest,)).rowcount
        connection.execute(sql.SET_PINNED, (digest, pinned))
    return changed
