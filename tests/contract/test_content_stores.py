"""Every content store keeps the contract of `entrepot.ports.content_store`."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.testing import (
    CanEnumerateSuite,
    ContentStoreSuite,
    FullContentStoreSuite,
    MemoryContentStore,
)
from entrepot.testing.content_store_suite import ROOM
from tests.programs import NOT_RUN


class TestMemoryContentStore(ContentStoreSuite, CanEnumerateSuite, FullContentStoreSuite):
    @pytest.fixture
    def store(self) -> MemoryContentStore:
        return MemoryContentStore()

    @pytest.fixture
    def full_store(self) -> MemoryContentStore:
        return MemoryContentStore(capacity=ROOM)


class TestFilesystemContentStore(ContentStoreSuite, CanEnumerateSuite):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[FilesystemContentStore]:
        store = FilesystemContentStore(tmp_path)
        yield store
        await store.close()


class TestFilesystemContentStoreThatForgets(ContentStoreSuite):
    """Nothing is kept in memory, as after a restart or in another process."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[FilesystemContentStore]:
        store = FilesystemContentStore(tmp_path, durable=False, memory=0, hashes=0, threads=1)
        yield store
        await store.close()


class TestFullFilesystemContentStore(FullContentStoreSuite):
    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of ROOM bytes."""
        if os.geteuid() != 0:
            pytest.skip(f"{NOT_RUN}only root mounts a small file system")
        size = f"size={ROOM}"
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(tmp_path)])
        if mount.returncode != 0:
            pytest.skip(f"{NOT_RUN}root may not mount a file system here")
        yield tmp_path
        subprocess.run(["umount", str(tmp_path)], check=True)

    @pytest.fixture
    async def full_store(self, small_disk: Path) -> AsyncIterator[FilesystemContentStore]:
        store = FilesystemContentStore(small_disk)
        yield store
        await store.close()
