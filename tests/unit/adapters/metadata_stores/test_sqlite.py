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
from entrepot.oci.reference import Tag
from entrepot.ports.metadata_store import ManifestPush
from entrepot.testing.metadata_store_examples import ALPHA, digest, digests, link, push, record


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


def bytes_read() -> int:
    """Return how many bytes this process has read so far, from caches too."""
    fields = Path("/proc/self/io").read_text().split()
    return int(fields[fields.index("rchar:") + 1])


async def test_long_annotations_are_not_read_where_they_are_not_wanted(sqlite_file: Path) -> None:
    store = await SqlMetadataStore.open(f"sqlite:///{sqlite_file}", durable=False)
    names = [f"signature {number}" for number in range(16)]
    for name in names:
        what = record(name, subject="image", annotations={"text": "x" * 1_000_000})
        await push(store, ALPHA, ManifestPush(what, tags=(Tag(digest(name).hex),)))
    await store.close()
    store = await SqlMetadataStore.open(f"sqlite:///{sqlite_file}")  # nothing is cached
    before = bytes_read()
    for name in names:
        await store.manifests.find(ALPHA, digest(name))
        await store.manifests.find(ALPHA, Tag(digest(name).hex))
    assert len(await store.manifests.referrers(ALPHA, digest("image"), limit=100)) == 16
    assert len(await store.manifests.held(ALPHA, digests(names))) == 16
    assert bytes_read() - before < 1_000_000
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


async def test_a_restored_backup_is_read_while_it_is_written(
    sqlite_file: Path, tmp_path: Path
) -> None:
    restored = tmp_path / "restored.db"
    with closing(sqlite3.connect(sqlite_file)) as connection:
        connection.execute("VACUUM INTO ?", (str(restored),))
    stores = [await SqlMetadataStore.open(f"sqlite:///{restored}") for _ in range(2)]
    for number, store in enumerate(stores):
        await link(store, ALPHA, f"layer {number}")
    with closing(sqlite3.connect(restored, isolation_level=None)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        other.execute("BEGIN EXCLUSIVE")  # which keeps readers out in every other mode
        for store in stores:
            await store.blobs.find(ALPHA, digest("layer 1"))
    for store in stores:
        await store.close()
