"""Events: recorded by the transaction that causes them, kept until they are delivered."""

from collections.abc import Sequence

from entrepot.adapters.metadata_stores import rows, sql
from entrepot.adapters.metadata_stores.database import Database, Transaction
from entrepot.oci.digest import Digest
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.metadata_store import Event


async def record(
    tx: Transaction,
    kind: str,
    repository: RepositoryName,
    digest: Digest,
    *,
    tag: Tag | None = None,
    actor: str,
    at: float,
) -> None:
    """Write an event, to be delivered if the transaction commits."""
    await tx.execute(
        sql.INSERT_EVENT,
        kind=kind,
        repository=repository,
        digest=str(digest),
        tag=tag,
        actor=actor,
        at=at,
    )


class SqlOutbox:
    """Events that await delivery, over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, limit: int) -> Sequence[Event]:
        found = await self._database.fetch_all(sql.LIST_EVENTS, limit=limit)
        return [
            Event(
                identifier,
                kind,
                RepositoryName(repository),
                rows.optional_digest(digest),
                None if tag is None else Tag(tag),
                actor,
                at,
            )
            for identifier, kind, repository, digest, tag, actor, at in found
        ]

    async def delivered(self, ids: Sequence[int]) -> None:
        await self._database.write(_delete, ids)

    async def expire(self, before: float, limit: int) -> int:
        return await self._database.write(_expire, before, limit)


async def _delete(tx: Transaction, ids: Sequence[int]) -> None:
    await tx.execute(sql.DELETE_EVENTS, ids=tx.elements(ids))


async def _expire(tx: Transaction, before: float, limit: int) -> int:
    return await tx.execute(sql.EXPIRE_EVENTS, before=before, limit=limit)
