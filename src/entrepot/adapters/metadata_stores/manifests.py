"""Manifests: what they need, what names them, and what refers to them."""

import json
from collections.abc import Iterable, Mapping, Sequence

from entrepot.adapters.metadata_stores import catalog, outbox, rows, sql, tags
from entrepot.adapters.metadata_stores.database import (
    Conflict,
    Database,
    Reader,
    Row,
    Statement,
    Transaction,
    Value,
)
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestBlobUnknown, ManifestUnknown
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.metadata_store import ManifestPush, ManifestRecord


class SqlManifests:
    """Manifests and their references, over a SQL database.

    Events: `manifest.push` where the manifest is new to the repository, then `tag.set` for
    each tag that is new or moves, so a push that changes nothing is silent; `tag.delete` for
    each tag of a deleted manifest, then `manifest.delete`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, repository: RepositoryName, reference: Tag | Digest) -> ManifestRecord:
        # Every pull comes by here; sqlite3 takes a plain str much quicker than a subclass.
        home, text = str(repository), str(reference)
        if isinstance(reference, Digest):
            row = await self._database.fetch_one(
                sql.FIND_MANIFEST_BY_DIGEST, repository=home, digest=text
            )
        else:
            row = await self._database.fetch_one(
                sql.FIND_MANIFEST_BY_TAG, repository=home, tag=text
            )
        if row is None:
            await catalog.require(self._database, repository)
            raise _unknown(repository, reference)
        return rows.manifest_record(row)

    async def held(
        self, repository: RepositoryName, digests: Sequence[Digest]
    ) -> Sequence[ManifestRecord]:
        return list(
            map(rows.manifest_record, await self._of(sql.LIST_MANIFESTS, repository, digests))
        )

    async def annotations(
        self, repository: RepositoryName, digests: Sequence[Digest]
    ) -> Mapping[Digest, Mapping[str, str]]:
        found = await self._of(sql.LIST_ANNOTATIONS, repository, digests)
        return {rows.digest(digest): json.loads(text) for digest, text in found}

    async def _of(
        self, statement: Statement, repository: RepositoryName, digests: Sequence[Digest]
    ) -> list[Row]:
        """Read what a statement tells of those of the manifests that the repository holds."""
        given = self._database.elements(_texts(digests))
        return await self._database.fetch_all(statement, repository=repository, digests=given)

    async def check(self, repository: RepositoryName, push: ManifestPush) -> None:
        row = await self._database.fetch_one(sql.FIND_REPOSITORY, name=repository)
        # There is no repository 0, and nothing is in it.
        await _require(self._database, row[0] if row else 0, push, sql.LIST_PRESENT_BLOBS)

    async def push(
        self, repository: RepositoryName, push: ManifestPush, *, actor: str, at: float
    ) -> None:
        await self._database.write(_push, repository, push, actor, at)

    async def delete(
        self, repository: RepositoryName, digest: Digest, *, actor: str, at: float
    ) -> None:
        await self._database.write(_delete, repository, digest, actor, at)

    async def referrers(
        self,
        repository: RepositoryName,
        subject: Digest,
        *,
        artifact_type: str | None = None,
        after: Digest | None = None,
        limit: int,
    ) -> Sequence[ManifestRecord]:
        place: dict[str, Value] = {
            "repository": repository,
            "subject": str(subject),
            "after": str(after) if after else "",
            "limit": limit,
        }
        if artifact_type is None:
            found = await self._database.fetch_all(sql.LIST_REFERRERS, **place)
        else:
            found = await self._database.fetch_all(
                sql.LIST_REFERRERS_OF_TYPE, artifact_type=artifact_type, **place
            )
        return list(map(rows.manifest_record, found))


async def _push(
    tx: Transaction, repository: RepositoryName, push: ManifestPush, actor: str, at: float
) -> None:
    digest = push.record.digest
    # A blob linked meanwhile would not be counted for an optional reference to it.
    home = await catalog.ensure(tx, repository, at, alone=bool(push.optional))
    held = await tx.fetch_one(sql.HOLD_MANIFEST, repository=home, digest=str(digest))
    if held is None:
        await _insert(tx, home, push.record, at)
    blobs, children = _texts(push.blobs), _texts(push.manifests)
    optional = _texts(set(push.optional) - set(push.blobs))
    await _require(tx, home, push, sql.HOLD_BLOB_LINKS)
    if held is None:
        await _refer(tx, home, digest, blobs, optional, children)
        await outbox.record(tx, "manifest.push", repository, digest, actor=actor, at=at)
    for tag in sorted(set(push.tags)):
        await tags.point(tx, home, repository, tag, digest, actor, at)
    if held is None and (blobs or optional):
        needed = tx.elements(sorted(blobs + optional))
        await tx.execute(sql.ADD_REFERENCES, repository=home, digests=needed)


async def _insert(tx: Transaction, home: int, record: ManifestRecord, at: float) -> None:
    digest = str(record.digest)
    await tx.fetch_one(sql.LINK_CONTENT, digest=digest, size=record.size, at=at)
    created = await tx.fetch_one(
        sql.INSERT_MANIFEST,
        repository=home,
        digest=digest,
        media_type=record.media_type,
        artifact_type=record.artifact_type,
        size=record.size,
        subject=str(record.subject) if record.subject else None,
        at=at,
        annotations=json.dumps(dict(record.annotations)),
    )
    if created is None:  # another has just pushed it
        raise Conflict


async def _require(reader: Reader, home: int, push: ManifestPush, blob_links: Statement) -> None:
    """Look by `blob_links` for the blobs a manifest needs, and for the manifests it needs."""
    blobs = _texts(push.blobs)
    manifests = _texts(push.manifests) if push.require_manifests else []
    present: set[str] = set()
    for statement, digests in ((blob_links, blobs), (sql.LIST_PRESENT_MANIFESTS, manifests)):
        if digests:
            given = reader.elements(digests)
            found = await reader.fetch_all(statement, repository=home, digests=given)
            present.update(digest for (digest,) in found)
    missing = [digest for digest in blobs + manifests if digest not in present]
    if missing:
        raise ManifestBlobUnknown(
            f"the manifest needs {', '.join(missing)}, not in the repository; push first",
            detail={"digests": missing},
        )


async def _refer(
    tx: Transaction,
    home: int,
    digest: Digest,
    blobs: list[str],
    optional: list[str],
    children: list[str],
) -> None:
    """Record what a new manifest needs."""
    for kind, digests in (("blob", blobs), ("optional", optional), ("manifest", children)):
        if digests:
            await tx.execute(
                sql.INSERT_MANIFEST_REFERENCES,
                repository=home,
                manifest=str(digest),
                kind=kind,
                digests=tx.elements(digests),
            )


async def _delete(
    tx: Transaction, repository: RepositoryName, digest: Digest, actor: str, at: float
) -> None:
    home = await catalog.require(tx, repository)
    await tx.fetch_one(sql.LOCK_REPOSITORY, name=repository)
    key = str(digest)
    if not await tx.fetch_one(sql.FIND_MANIFEST_BY_DIGEST, repository=repository, digest=key):
        raise _unknown(repository, digest)
    await tx.execute(sql.UNLINK_CONTENT, given_digest=key)
    if await tx.fetch_one(sql.LOCK_MANIFEST, repository=home, digest=key) is None:
        raise Conflict  # another has just deleted it
    names = await tx.fetch_all(sql.DELETE_TAGS_OF_MANIFEST, repository=home, digest=key)
    for name in sorted(name for (name,) in names):
        await tags.note_deleted(tx, home, repository, Tag(name), digest, actor, at)
    await _release(tx, home, key)
    await tx.execute(sql.DELETE_MANIFEST, repository=home, digest=key)
    await outbox.record(tx, "manifest.delete", repository, digest, actor=actor, at=at)


async def _release(tx: Transaction, home: int, manifest: str) -> None:
    """Forget what a manifest needed, and count it out."""
    found = await tx.fetch_all(sql.LIST_MANIFEST_BLOBS, repository=home, manifest=manifest)
    if found:
        blobs = tx.elements([digest for (digest,) in found])
        await tx.execute(sql.DROP_REFERENCES, repository=home, digests=blobs)
    await tx.execute(sql.DELETE_MANIFEST_REFERENCES, repository=home, manifest=manifest)


def _texts(digests: Iterable[Digest]) -> list[str]:
    return sorted({str(digest) for digest in digests})


def _unknown(repository: RepositoryName, reference: Tag | Digest) -> ManifestUnknown:
    return ManifestUnknown(
        f"repository {repository} has no manifest {reference}",
        detail={"name": repository, "reference": str(reference)},
    )
