"""Blob links, with the leases and counts that garbage collection rests on."""

from collections.abc import Sequence

from entrepot.adapters.metadata_stores import catalog, outbox, sql
from entrepot.adapters.metadata_stores.database import Conflict, Database, Reader, Transaction
from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, Denied
from entrepot.oci.reference import RepositoryName
from entrepot.ports.metadata_store import BlobLink


class SqlBlobLinks:
    """Which repository may read which blob, over a SQL database.

    Events: `blob.push` and `blob.mount` only where a link is new, `blob.delete`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, repository: RepositoryName, digest: Digest) -> BlobLink:
        return await _find(self._database, repository, digest)

    async def add(
        self,
        repository: RepositoryName,
        digest: Digest,
        size: int,
        *,
        leased_until: float,
        actor: str,
        at: float,
        upload: str | None = None,
    ) -> None:
        await self._database.write(_add, repository, digest, size, leased_until, actor, at, upload)

    async def mount(
        self,
        source: RepositoryName,
        target: RepositoryName,
        digest: Digest,
        *,
        leased_until: float,
        actor: str,
        at: float,
    ) -> int:
        return await self._database.write(_mount, source, target, digest, leased_until, actor, at)

    async def renew(self, repository: RepositoryName, digest: Digest, leased_until: float) -> bool:
        return await self._database.write(_renew, repository, digest, leased_until)

    async def holders(self, digest: Digest, limit: int) -> Sequence[RepositoryName]:
        rows = await self._database.fetch_all(
            sql.LIST_BLOB_HOLDERS, digest=str(digest), limit=limit
        )
        return [RepositoryName(name) for (name,) in rows]

    async def remove(
        self, repository: RepositoryName, digest: Digest, *, actor: str, at: float
    ) -> None:
        await self._database.write(_remove, repository, digest, actor, at)


async def _find(reader: Reader, repository: RepositoryName, digest: Digest) -> BlobLink:
    # As in `SqlManifests.find`: plain text is quicker.
    row = await reader.fetch_one(sql.FIND_BLOB_LINK, repository=str(repository), digest=str(digest))
    if row is None:
        raise BlobUnknown(
            f"repository {repository} holds no blob {digest}; push or mount it first",
            detail={"name": repository, "digest": str(digest)},
        )
    return BlobLink(*row)


async def _add(
    tx: Transaction,
    repository: RepositoryName,
    digest: Digest,
    size: int,
    leased_until: float,
    actor: str,
    at: float,
    upload: str | None,
) -> None:
    if upload is not None:
        await tx.execute(sql.DELETE_UPLOAD, id=upload)
    home = await catalog.ensure(tx, repository, at)
    if await _link(tx, home, digest, size, leased_until, at) is not None:
        await outbox.record(tx, "blob.push", repository, digest, actor=actor, at=at)


async def _mount(
    tx: Transaction,
    source: RepositoryName,
    target: RepositoryName,
    digest: Digest,
    leased_until: float,
    actor: str,
    at: float,
) -> int:
    size = (await _find(tx, source, digest)).size
    home = await catalog.ensure(tx, target, at)
    links = await _link(tx, home, digest, size, leased_until, at)
    if links is not None:
        if links == 1:  # the source's link has just gone, and the content may go with it
            raise Conflict
        await outbox.record(tx, "blob.mount", target, digest, actor=actor, at=at)
    return size


async def _link(
    tx: Transaction, home: int, digest: Digest, size: int, leased_until: float, at: float
) -> int | None:
    """Link content to a repository; return how many links the content has now.

    Return None if the link existed, after extending its lease.
    """
    key = str(digest)
    if await tx.execute(
        sql.EXTEND_BLOB_LINK, repository=home, given_digest=key, lease=leased_until
    ):
        return None
    linked = await tx.fetch_one(sql.LINK_CONTENT, digest=key, size=size, at=at)
    created = await tx.fetch_one(
        sql.INSERT_BLOB_LINK, repository=home, digest=key, lease=leased_until
    )
    if linked is None or created is None:  # another has just created the link
        raise Conflict
    return int(linked[0])


async def _renew(
    tx: Transaction, repository: RepositoryName, digest: Digest, leased_until: float
) -> bool:
    found = await tx.execute(
        sql.RENEW_BLOB_LINK, repository=repository, given_digest=str(digest), lease=leased_until
    )
    return found > 0


async def _remove(
    tx: Transaction, repository: RepositoryName, digest: Digest, actor: str, at: float
) -> None:
    key = str(digest)
    await _find(tx, repository, digest)
    await tx.execute(sql.UNLINK_CONTENT, given_digest=key)
    if not await tx.execute(sql.DELETE_UNREFERENCED_BLOB_LINK, repository=repository, digest=key):
        await _find(tx, repository, digest)  # gone meanwhile?
        raise Denied(
            f"blob {digest} is needed by a manifest of {repository}; delete the manifest first",
            detail={"name": repository, "digest": key},
        )
    await outbox.record(tx, "blob.delete", repository, digest, actor=actor, at=at)
