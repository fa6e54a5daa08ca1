"""Content by digest: reserved, stored, evicted, forgotten. The sums follow by triggers."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from entrepot.adapters.cache_indexes import sqlite_statements as sql
from entrepot.adapters.cache_indexes.sqlite_reader import Row, SqliteReader
from entrepot.adapters.cache_indexes.sqlite_shelf import SqliteShelf, inflation, put
from entrepot.adapters.cache_indexes.sqlite_writer import SqliteWriter
from entrepot.oci.digest import Digest
from entrepot.ports.cache_index import OVERDUE_AT_ONCE, CachedContent, Quota, State
from entrepot.rules.eviction import Evict, Policy

_FEWEST_GHOSTS: Final = 1_000


def content(row: Row, digest: Digest | None = None) -> CachedContent:
    """Read a row of content, whose digest may be known already."""
    text, size, state, upstream, stamp, stored_at, used_at, verified_at, uses, pinned = row
    return CachedContent(
        digest or Digest.parse(text),
        size,
        state,
        upstream,
        stamp,
        stored_at,
        used_at,
        verified_at,
        uses,
        bool(pinned),
    )


class SqliteContents:
    """See `CachedContents`."""

    def __init__(self, reader: SqliteReader, writer: SqliteWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def find(self, digest: Digest) -> CachedContent | None:
        row = self._reader.row(sql.FIND, str(digest))
        return None if row is None else content(row, digest)

    async def reserve(
        self, digest: Digest, size: int, upstream: str, quota: Quota, *, at: float
    ) -> int:
        return await self._writer.run(_reserve, str(digest), size, upstream, quota)

    async def stored(self, digest: Digest, stamp: str, policy: Policy, *, at: float) -> None:
        await self._writer.run(_stored, str(digest), stamp, policy, at)

    async def forget(self, digest: Digest, *, state: State | None = None) -> None:
        if state is None:
            await self._writer.run(_changed, sql.FORGET, str(digest))
        else:
            await self._writer.run(_changed, sql.FORGET_IN_STATE, str(digest), state)

    async def choose(
        self, policy: Policy, upstream: str | None, size: int, capacity: int, *, at: float
    ) -> Sequence[CachedContent]:
        rows = await self._writer.run(_choose, policy, upstream, size, capacity, at)
        return [content(row) for row in rows]

    async def take(self, digest: Digest) -> bool:
        return await self._writer.run(_changed, sql.TAKE, str(digest)) > 0

    async def unfinished(self) -> Sequence[CachedContent]:
        return [content(row) for row in await self._reader.rows(sql.UNFINISHED)]


def _changed(connection: sqlite3.Connection, statement: str, *parameters: object) -> int:
    return connection.execute(statement, parameters).rowcount


def _reserve(
    connection: sqlite3.Connection, digest: str, size: int, upstream: str, quota: Quota
) -> int:
    there = connection.execute(sql.CHARGED, (digest,)).fetchall()
    before, state = there[0] if there else (0, None)
    if state == "stored":
        return 0
    growth = size - before
    if state is None or growth > 0:
        ((used, in_all),) = connection.execute(sql.USED, (upstream,)).fetchall()
        if lacking := quota.lacking(size, growth, used, in_all):
            return lacking
    connection.execute(
        sql.RESERVE if state is None else sql.RESERVE_AGAIN, (digest, size, upstream)
    )
    return 0


def _stored(
    connection: sqlite3.Connection, digest: str, stamp: str, policy: Policy, at: float
) -> None:
    there = connection.execute(sql.ENTRY, (digest,)).fetchall()
    if not there:
        return
    _, size, *_, state, upstream = there[0]
    if state == "stored":
        connection.execute(sql.VERIFIED, (digest, stamp, at))
    elif state == "filling":
        remembered = connection.execute(sql.RECALL, (digest,)).rowcount > 0
        high = inflation(connection, policy.name, upstream)
        place = policy.place(size, at, inflation=high, remembered=remembered)
        put(connection, sql.STORED, policy.name, place, digest, stamp, at)


def _choose(
    connection: sqlite3.Connection,
    policy: Policy,
    upstream: str | None,
    size: int,
    capacity: int,
    at: float,
) -> list[Row]:
    """Do what the policy says until enough is chosen, or nothing can be."""
    shelf = SqliteShelf(connection, policy, upstream)
    shelf.adopt()
    chosen: list[Row] = []
    while len(chosen) < OVERDUE_AT_ONCE and (step := policy.overdue(shelf, at)) is not None:
        chosen.append(_evict(connection, policy, upstream, step))
    freed = sum(row[1] for row in chosen)
    while freed < size:
        if step := shelf.settle(at, capacity):
            chosen.append(_evict(connection, policy, upstream, step))
            freed += step.entry.size
        elif not shelf.adopt():
            break
    return chosen


def _evict(
    connection: sqlite3.Connection, policy: Policy, upstream: str | None, step: Evict
) -> Row:
    """Mark an entry, count its eviction, remember it, and raise the inflation."""
    row: Row = connection.execute(sql.EVICT, (step.entry.key,)).fetchall()[0]
    connection.execute(sql.COUNT_EVICTION, (row[3], row[1]))
    if step.inflation is not None:
        connection.execute(sql.SET_INFLATION, (policy.name, upstream or "", step.inflation))
    if step.remember:
        ((items,),) = connection.execute(sql.ITEMS).fetchall()
        connection.execute(sql.REMEMBER, (step.entry.key,))
        connection.execute(sql.TRIM_GHOSTS, (max(items, _FEWEST_GHOSTS),))
    return row
