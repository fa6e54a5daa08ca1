"""SQLite: the event loop never waits for a writer, and what is asked of the disk is honoured."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.adapters.metadata_stores.sqlite import SqliteDatabase
from entrepot.adapters.metadata_stores.sqlite_writer import SqliteWriter
from entrepot.adapters.metadata_stores.store import SqlMetadataStore
from entrepot.oci.errors import Unavailable
from entrepot.testing.metadata_store_examples import ALPHA, digest, link


def overwrite(path: Path) -> None:
    path.write_bytes(b"rubbish" * 10_000)


async def test_reads_go_on_while_another_program_writes(sqlite_file: Path) -> None:
    store = await SqlMetadataStore.open(f"sqlite:///{sqlite_file}")
    await link(store, ALPHA, "before")
    with closing(sqlite3.connect(sqlite_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(link(store, ALPHA, "after"))
        await asyncio.sleep(0)
        assert (await store.blobs.find(ALPHA, digest("before"))).size == len("before")
        assert not waiting.done()
        other.execute("COMMIT")
    await waiting
    assert (await store.blobs.find(ALPHA, digest("after"))).size == len("after")
    await store.close()


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 1)])
def test_durable_means_synced_at_every_commit(sqlite_file: Path, durable: bool, level: int) -> None:
    writer = SqliteWriter.open(sqlite_file, durable=durable)
    assert writer._connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert writer._connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    writer.end().result(30)


def test_a_sqlite_that_is_too_old_is_refused(
    sqlite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))
    with pytest.raises(Unavailable, match=r"3\.38\.0 or newer"):
        SqliteDatabase.open(sqlite_file, durable=True)


async def test_a_file_that_broke_is_unavailable(sqlite_file: Path) -> None:
    store = await SqlMetadataStore.open(f"sqlite:///{sqlite_file}")
    overwrite(sqlite_file)
    with pytest.raises(Unavailable):
        await store.blobs.find(ALPHA, digest("layer"))
    with pytest.raises(Unavailable):
        await link(store, ALPHA, "layer")
    await store.close()
