"""A mock registry for each test, and the client's view of a repository there."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from entrepot.adapters.remotes.registry import HttpRegistry
from entrepot.adapters.remotes.repository import HttpRepository
from entrepot.testing import MockRegistry
from tests.remote_registries import name, remote


@pytest.fixture
def mock() -> Iterator[MockRegistry]:
    with MockRegistry() as registry:
        yield registry


@pytest_asyncio.fixture
async def registry(mock: MockRegistry) -> AsyncIterator[HttpRegistry]:
    async with remote(mock.host) as registry:
        yield registry


@pytest.fixture
def repository(registry: HttpRegistry) -> HttpRepository:
    return registry.repository(name())
