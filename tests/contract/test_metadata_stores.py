"""The SQL metadata store keeps its contract on both engines."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from entrepot.adapters.metadata_stores.schema import metadata
from entrepot.adapters.metadata_stores.store import SqlMetadataStore
from entrepot.oci.reference import Tag
from entrepot.ports.metadata_store import MetadataStore
from entrepot.testing.metadata_store_examples import ALPHA
from entrepot.testing.metadata_store_suite import MetadataStoreSuite
from entrepot.testing.postgresql import PostgresqlServer

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
               AND needed.child = blob_link.digest AND needed.kind IN ('blob', 'optional'))
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


PUSHER: Final = """
import asyncio, sys
from entrepot.adapters.metadata_stores.schema import metadata
from entrepot.adapters.metadata_stores.store import SqlMetadataStore
from entrepot.testing.metadata_store_examples import ALPHA, push_image

async def push(store, number):
    blobs = [f"blob {(number + step) % 7}" for step in range(4)]
    tags = [f"{process}-{number:03}", "latest"]
    await push_image(store, ALPHA, f"image {process} {number}", *blobs, tags=tags)

async def main():
    store = await SqlMetadataStore.open(url, durable=False)
    for start in range(0, count, 10):
        await asyncio.gather(*(push(store, start + offset) for offset in range(10)))
    await store.close()

url, process, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
asyncio.run(main())
"""


class SqlSuite(MetadataStoreSuite):
    url: str

    @pytest.mark.parametrize(
        ("count", "pushes"), [(2, 20), pytest.param(4, 80, marks=pytest.mark.slow)]
    )
    async def test_processes_lose_nothing_of_each_other(
        self, store: MetadataStore, count: int, pushes: int
    ) -> None:
        processes = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PUSHER, self.url, str(number), str(pushes)),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for number in range(count)
        ]
        for process in processes:
            output, _ = await process.communicate()
            assert process.returncode == 0, output.decode()
        tags = await store.tags.list(ALPHA, limit=10_000)
        assert len(tags) == count * pushes + 1
        history = await store.tags.history(ALPHA, Tag("latest"), 10_000)
        assert len(history) == count * pushes
        await self.verify(store)

    async def verify(self, store: MetadataStore) -> None:
        """Count everything anew and compare."""
        for what, query in WRONG_COUNTS.items():
            assert self.query(query) == [], what

    def query(self, text: str) -> list[tuple[Any, ...]]:
        raise NotImplementedError


class TestSqlite(SqlSuite):
    @pytest.fixture
    async def store(self, migrated_sqlite: Path, tmp_path: Path) -> AsyncIterator[SqlMetadataStore]:
        self.path = Path(shutil.copy(migrated_sqlite, tmp_path))
        self.url = f"sqlite:///{self.path}"
        store = await SqlMetadataStore.open(self.url, durable=False)
        yield store
        await store.close()

    def query(self, text: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(text).fetchall()


@pytest.fixture(scope="module")
def migrated_url(postgresql: PostgresqlServer, migrated_postgresql: str) -> str:
    return postgresql.url(postgresql.create_database(like=migrated_postgresql))


@pytest.mark.real
class TestPostgresql(SqlSuite):
    @pytest.fixture
    async def store(self, migrated_url: str) -> AsyncIterator[SqlMetadataStore]:
        self.url = migrated_url
        with closing(psycopg.connect(migrated_url, autocommit=True)) as connection:
            connection.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY")
        store = await SqlMetadataStore.open(self.url)
        yield store
        await store.close()

    def query(self, text: str) -> list[tuple[Any, ...]]:
        with closing(psycopg.connect(self.url)) as connection:
            return connection.execute(text).fetchall()
