"""What the tests of the SQLite cache index share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.adapters.cache_indexes.sqlite import SqliteCacheIndex


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


@pytest.fixture
async def index(path: Path) -> AsyncIterator[SqliteCacheIndex]:
    index = await SqliteCacheIndex.open(path)
    yield index
    await index.close()
