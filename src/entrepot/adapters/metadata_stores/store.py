"""The SQL metadata store: one driver for SQLite and PostgreSQL."""

import asyncio
from dataclasses import dataclass

from entrepot.adapters.metadata_stores import sql
from entrepot.adapters.metadata_stores.blobs import SqlBlobLinks
from entrepot.adapters.metadata_stores.catalog import SqlCatalog
from entrepot.adapters.metadata_stores.database import Database
from entrepot.adapters.metadata_stores.location import sqlite_path
from entrepot.adapters.metadata_stores.manifests import SqlManifests
from entrepot.adapters.metadata_stores.migrate import migrate
from entrepot.adapters.metadata_stores.outbox import SqlOutbox
from entrepot.adapters.metadata_stores.tags import SqlTags
from entrepot.adapters.metadata_stores.uploads import SqlUploads


@dataclass(frozen=True, slots=True)
class SqlMetadataStore:
    """The ports of one SQL database, as `entrepot.ports.metadata_store` describes them."""

    blobs: SqlBlobLinks
    manifests: SqlManifests
    tags: SqlTags
    uploads: SqlUploads
    catalog: SqlCatalog
    outbox: SqlOutbox
    database: Database

    @classmethod
    async def open(cls, url: str, durable: bool = True) -> "SqlMetadataStore":
        """Open the database at `url`, bringing its schema up to date; call it after forking.

        `url` is `sqlite:///relative/file.db`, `sqlite:////absolute/file.db` or anything
        PostgreSQL's own clients take (`postgresql://user@host/database`). With `durable`,
        a write that has returned survives a power cut. Raise Unavailable if the database
        cannot be reached or is of another version, ValueError for another kind of URL.
        """
        await asyncio.to_thread(migrate, url)
        database = await _connect(url, durable)
        return cls(
            SqlBlobLinks(database),
            SqlManifests(database),
            SqlTags(database),
            SqlUploads(database),
            SqlCatalog(database),
            SqlOutbox(database),
            database,
        )

    async def ping(self) -> None:
        await self.database.fetch_one(sql.FIND_VERSION)

    async def close(self) -> None:
        await self.database.close()


async def _connect(url: str, durable: bool) -> Database:
    # Each engine's client is imported only where it is used: psycopg alone is 15 MB.
    path = sqlite_path(url)
    if path is not None:
        from entrepot.adapters.metadata_stores.sqlite import SqliteDatabase

        return SqliteDatabase.open(path, durable=durable)
    from entrepot.adapters.metadata_stores.postgresql import PostgresqlDatabase

    return await PostgresqlDatabase.open(url, durable=durable)
