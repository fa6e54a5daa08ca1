"""Filesystem content stores to test: `store`, and `other` as a second process on the same root."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[FilesystemContentStore]:
    store = FilesystemContentStore(root, durable=False)
    yield store
    await store.close()


@pytest.fixture
async def other(root: Path) -> AsyncIterator[FilesystemContentStore]:
    other = FilesystemContentStore(root, durable=False)
    yield other
    await other.close()
