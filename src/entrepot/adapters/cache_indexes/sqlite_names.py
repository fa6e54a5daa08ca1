"""Tags, manifests and blobs by repository; looking over them, and forgetting them."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from entrepot.adapters.cache_indexes import sqlite_statements as sql
from entrepot.adapters.cache_indexes.sqlite_reader import SqliteReader
from entrepot.adapters.cache_indexes.sqlite_writer import SqliteWriter
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Tag
from entrepot.ports.cache_index import CachedTag, CacheEvent

_BLOB, _MANIFEST, _EXPECTED = 0, 1, 2
_EVERYTHING: Final = ""
MOST_ABSENT: Final = 100_000
"""What was absent is forgotten beyond so many, the oldest first: who asks for names that do not
exist must not fill the disk."""
MOST_EVENTS: Final = 5_000


class SqliteNames:
    """See `CachedNames`. What was absent until before `now()` is dropped now and then."""

    def __init__(
        self, reader: SqliteReader, writer: SqliteWriter, now: Callable[[], float]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._now = now

    async def tag(self, repository: str, tag: Tag) -> CachedTag | None:
        row = self._reader.row(sql.TAG, repository, tag)
        return None if row is None else CachedTag(Digest.parse(row[0]), *row[1:])

    async def set_tag(
        self, repository: str, tag: Tag, manifest: Descriptor, *, at: float
    ) -> Digest | None:
        return await self._writer.run(_set_tag, repository, tag, manifest, at)

    async def manifest(self, repository: str, digest: Digest) -> Descriptor | None:
        row = self._reader.row(sql.LINKED, repository, str(digest), _MANIFEST)
        return None if row is None else Descriptor(row[0], digest, row[1])

    async def blob(self, repository: str, digest: Digest) -> int | None:
        row = self._reader.row(sql.LINKED, repository, str(digest), _BLOB)
        return None if row is None else row[1]

    async def link(
        self,
        repository: str,
        *,
        manifests: Sequence[Descriptor] = (),
        blobs: Sequence[tuple[Digest, int]] = (),
        at: float,
    ) -> None:
        rows = [
            *((str(one.digest), _MANIFEST, one.media_type, one.size) for one in manifests),
            *((str(digest), _BLOB, "", size) for digest, size in blobs),
        ]
        await self._writer.run(_link, repository, rows, at)

    async def expect(
        self, repository: str, descriptors: Sequence[Descriptor], *, at: float
    ) -> None:
        rows = [(str(one.digest), _EXPECTED, one.media_type, one.size) for one in descriptors]
        await self._writer.run(_expect, repository, rows, at)

    async def expected(self, repository: str, digest: Digest) -> Descriptor | None:
        row = self._reader.row(sql.LINKED, repository, str(digest), _EXPECTED)
        return None if row is None else Descriptor(row[0], digest, row[1])

    async def absent(self, repository: str, reference: str, *, blob: bool = False) -> float | None:
        row = self._reader.row(sql.ABSENT, repository, _absent(reference, blob=blob))
        return None if row is None else row[0]

    async def set_absent(
        self, repository: str, reference: str, until: float, *, blob: bool = False
    ) -> None:
        name = _absent(reference, blob=blob)
        await self._writer.run(_set_absent, repository, name, until, self._now())


class SqliteCatalog:
    """See `CacheCatalog`."""

    def __init__(self, reader: SqliteReader, writer: SqliteWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def repositories(self, *, after: str = "", limit: int) -> Sequence[str]:
        rows = await self._reader.rows(sql.REPOSITORIES, after, limit)
        return [name for (name,) in rows]

    async def tags(self, repository: str) -> Sequence[tuple[Tag, CachedTag]]:
        rows = await self._reader.rows(sql.TAGS, repository)
        return [(Tag(name), CachedTag(Digest.parse(digest), *rest)) for name, digest, *rest in rows]

    async def links(self, repository: str) -> Sequence[Digest]:
        rows = await self._reader.rows(sql.LINKS, repository)
        return [Digest.parse(digest) for (digest,) in rows]

    async def purge(self, repository: str, reference: Tag | Digest | None = None) -> int:
        what = _EVERYTHING if reference is None else str(reference)
        return await self._writer.run(_purge, repository, what)

    async def forget_unused(self, repositories: Sequence[str], before: float) -> int:
        return await self._writer.run(_forget_unused, repositories, before)

    async def unlinked(self, limit: int) -> Sequence[Digest]:
        rows = await self._reader.rows(sql.UNLINKED, limit)
        return [Digest.parse(digest) for (digest,) in rows]

    async def record(self, event: CacheEvent) -> None:
        await self._writer.run(record, event)

    async def events(self, limit: int) -> Sequence[CacheEvent]:
        return [CacheEvent(*row) for row in await self._reader.rows(sql.EVENTS, limit)]


def record(connection: sqlite3.Connection, event: CacheEvent) -> None:
    """Keep an event. Its texts may hold what an upstream has sent, so also half characters."""
    texts = (event.kind, event.repository, event.reference, event.detail)
    clean = [text.encode(errors="replace").decode() for text in texts]
    connection.execute(sql.RECORD, (*clean, event.at))
    connection.execute(sql.TRIM_EVENTS, (MOST_EVENTS,))


def _set_tag(
    connection: sqlite3.Connection, repository: str, tag: Tag, manifest: Descriptor, at: float
) -> Digest | None:
    digest = str(manifest.digest)
    before = connection.execute(sql.TAG_DIGEST, (repository, tag)).fetchall()
    _link(connection, repository, [(digest, _MANIFEST, manifest.media_type, manifest.size)], at)
    connection.execute(sql.SET_TAG, (repository, tag, digest, at))
    connection.execute(sql.PRESENT, (repository, tag))
    return Digest.parse(before[0][0]) if before else None


Rows = Sequence[tuple[str, int, str, int]]
"""Digest, kind, media type and size."""


def _expect(connection: sqlite3.Connection, repository: str, rows: Rows, at: float) -> None:
    connection.executemany(sql.LINK, [(repository, *row, at) for row in rows])


def _link(connection: sqlite3.Connection, repository: str, rows: Rows, at: float) -> None:
    _expect(connection, repository, rows, at)
    present = [(repository, _absent(one, blob=kind == _BLOB)) for one, kind, *_ in rows]
    connection.executemany(sql.PRESENT, present)


def _absent(reference: str, *, blob: bool) -> str:
    """Return how a reference stands in `absent`: no tag and no digest has a blank in it."""
    return f"blob {reference}" if blob else reference


def _set_absent(
    connection: sqlite3.Connection, repository: str, reference: str, until: float, now: float
) -> None:
    connection.execute(sql.TRIM_EXPIRED, (now,))
    connection.execute(sql.SET_ABSENT, (repository, reference, until))
    connection.execute(sql.TRIM_ABSENT, (MOST_ABSENT,))


def _forget_unused(
    connection: sqlite3.Connection, repositories: Sequence[str], before: float
) -> int:
    gone = connection.execute(sql.TRIM_EXPIRED, (before,)).rowcount
    for repository in repositories:
        for statement in (sql.FORGET_TAGS, sql.FORGET_LINKS):
            gone += connection.execute(statement, (repository, before)).rowcount
    return gone


def _purge(connection: sqlite3.Connection, repository: str, what: str) -> int:
    ((count,),) = connection.execute(sql.COUNT_NAMES, (repository, what)).fetchall()
    for statement in (sql.PURGE_TAGS, sql.PURGE_LINKS, sql.PURGE_ABSENT):
        connection.execute(statement, (repository, what))
    return int(count)
