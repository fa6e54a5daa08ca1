"""Tags, and what they pointed to before."""

from collections.abc import Sequence

from entrepot.adapters.metadata_stores import catalog, outbox, rows, sql
from entrepot.adapters.metadata_stores.database import Database, Transaction
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestUnknown
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.metadata_store import TagChange


async def point(
    tx: Transaction,
    home: int,
    repository: RepositoryName,
    tag: Tag,
    digest: Digest,
    actor: str,
    at: float,
) -> None:
    """Let a tag name a manifest of the repository; if it does already, nothing happens."""
    moved = await tx.fetch_one(sql.SET_TAG, repository=home, name=tag, digest=str(digest), at=at)
    if moved is not None:
        await tx.execute(
            sql.INSERT_TAG_CHANGE, repository=home, name=tag, digest=str(digest), at=at
        )
        await outbox.record(tx, "tag.set", repository, digest, tag=tag, actor=actor, at=at)


async def note_deleted(
    tx: Transaction,
    home: int,
    repository: RepositoryName,
    tag: Tag,
    digest: Digest,
    actor: str,
    at: float,
) -> None:
    """Write the history and the event of a tag that has been deleted and named `digest`."""
    await tx.execute(sql.INSERT_TAG_CHANGE, repository=home, name=tag, digest=None, at=at)
    await outbox.record(tx, "tag.delete", repository, digest, tag=tag, actor=actor, at=at)


class SqlTags:
    """A repository's tags, over a SQL database.

    Events: `tag.set` where a tag is new or moves, `tag.delete`; both with the digest.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, repository: RepositoryName, *, after: str | None = None, limit: int
    ) -> Sequence[Tag]:
        names = await self._database.fetch_all(
            sql.LIST_TAGS, repository=repository, after=after or "", limit=limit
        )
        if not names:
            await catalog.require(self._database, repository)
        return [Tag(name) for (name,) in names]

    async def delete(self, repository: RepositoryName, tag: Tag, *, actor: str, at: float) -> None:
        await self._database.write(_delete, repository, tag, actor, at)

    async def history(
        self, repository: RepositoryName, tag: Tag, limit: int
    ) -> Sequence[TagChange]:
        changes = await self._database.fetch_all(
            sql.LIST_TAG_CHANGES, repository=repository, name=tag, limit=limit
        )
        return [TagChange(rows.optional_digest(digest), at) for digest, at in changes]


async def _delete(
    tx: Transaction, repository: RepositoryName, tag: Tag, actor: str, at: float
) -> None:
    home = await catalog.require(tx, repository)
    row = await tx.fetch_one(sql.DELETE_TAG, repository=home, name=tag)
    if row is None:
        raise ManifestUnknown(
            f"repository {repository} has no tag {tag}",
            detail={"name": repository, "tag": tag},
        )
    await note_deleted(tx, home, repository, tag, rows.digest(row[0]), actor, at)
