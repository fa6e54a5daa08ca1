"""The SQL metadata store keeps its contract on both engines."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from entrepot.adapters.metadata_stores.store import SqlMetadataStore
from entrepot.ports.metadata_store import MetadataStore
from entrepot.testing.metadata_store_suite import MetadataStoreSuite
from entrepot.testing.postgresql import PostgresqlMissing, PostgresqlServer, postgresql_server

WRONG_COUNTS: Final = {
    "content.links": """
        SELECT digest, links FROM content WHERE links <>
            (SELECT count(*) FROM blob_link WHERE blob_link.digest = content.digest)
          + (SELECT count(*) FROM manifest WHERE manifest.digest = content.digest)
    """,
    "blob_link.references": """
        SELECT repository_id, digest, "references" FROM blob_link WHERE "references" <>
            (SELECT count(*) FROM manifest_reference AS needed
             WHERE needed.repository_id = blob_link.repository_id
               AND needed.child = blob_link.digest AND needed.kind = 'blob')
    """,
    "needed but not linked": """
        SELECT * FROM manifest_reference AS needed WHERE kind = 'blob' AND NOT EXISTS
            (SELECT 1 FROM blob_link WHERE needed.repository_id = blob_link.repository_id
               AND needed.child = blob_link.digest)
    """,
    "tags without their last change": """
        SELECT name FROM tag WHERE digest <>
            (SELECT digest FROM tag_history AS past
             WHERE past.repository_id = tag.repository_id AND past.name = tag.name
             ORDER BY id DESC LIMIT 1)
    """,
}


class SqlSuite(MetadataStoreSuite):
    async def verify(self, store: MetadataStore) -> None:
        """Count everything anew and compare."""
        for what, query in WRONG_COUNTS.items():
            assert self.query(query) == [], what

    def query(self, text: str) -> list[tuple[Any, ...]]:
        raise NotImplementedError


class TestSqlite(SqlSuite):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqlMetadataStore]:
        self.path = tmp_path / "metadata.db"
        store = await SqlMetadataStore.open(f"sqlite:///{self.path}", durable=False)
        yield store
        await store.close()

    def query(self, text: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(text).fetchall()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    try:
        with postgresql_server() as server:
            yield server
    except PostgresqlMissing as missing:
        pytest.skip(f"not run: {missing}")


@pytest.mark.real
class TestPostgresql(SqlSuite):
    @pytest.fixture
    async def store(self, server: PostgresqlServer) -> AsyncIterator[SqlMetadataStore]:
        self.url = server.create_database()
        store = await SqlMetadataStore.open(self.url)
        yield store
        await store.close()

    def query(self, text: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(text).fetchall()
