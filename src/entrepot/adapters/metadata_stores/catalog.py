"""Repositories: found, created and listed."""

from collections.abc import Sequence

from entrepot.adapters.metadata_stores import sql
from entrepot.adapters.metadata_stores.database import Conflict, Database, Reader, Transaction
from entrepot.oci.errors import NameUnknown
from entrepot.oci.reference import RepositoryName


async def require(reader: Reader, repository: RepositoryName) -> int:
    """Return the repository's id. Raise NameUnknown if it does not exist."""
    row = await reader.fetch_one(sql.FIND_REPOSITORY, name=repository)
    if row is None:
        raise NameUnknown(
            f"there is no repository {repository}; the first push creates it",
            detail={"name": repository},
        )
    return int(row[0])


async def ensure(
    tx: Transaction, repository: RepositoryName, at: float, *, alone: bool = False
) -> int:
    """Return the repository's id, creating it if it is new.

    With `alone`, no other transaction that adds to the repository runs meanwhile.
    """
    hold = sql.LOCK_REPOSITORY if alone else sql.HOLD_REPOSITORY
    row = await tx.fetch_one(hold, name=repository)
    if row is None:
        row = await tx.fetch_one(sql.INSERT_REPOSITORY, name=repository, at=at)
    if row is None:  # another has just created it
        raise Conflict
    return int(row[0])


class SqlCatalog:
    """All repositories, over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, *, after: str | None = None, limit: int) -> Sequence[RepositoryName]:
        rows = await self._database.fetch_all(sql.LIST_REPOSITORIES, after=after or "", limit=limit)
        return [RepositoryName(name) for (name,) in rows]
