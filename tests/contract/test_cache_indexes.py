"""Every cache index, and the fake, keeps the contract."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.adapters.cache_indexes.sqlite import SqliteCacheIndex
from entrepot.testing import CacheIndexSuite, MemoryCacheIndex


class TestMemory(CacheIndexSuite):
    @pytest.fixture
    def index(self) -> MemoryCacheIndex:
        return MemoryCacheIndex(now=lambda: 0.0)


class Stopped:
    """A clock that stands still."""

    def now(self) -> float:
        return 0.0


class TestSqlite(CacheIndexSuite):
    @pytest.fixture
    async def index(self, tmp_path: Path) -> AsyncIterator[SqliteCacheIndex]:
        index = await SqliteCacheIndex.open(tmp_path / "index.db", clock=Stopped())
        yield index
        await index.close()
