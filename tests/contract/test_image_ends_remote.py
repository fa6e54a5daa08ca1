"""A repository of a registry keeps the contract of Ends: of ours, of docker-registry, and of the
mock registry without the referrers API."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from entrepot.adapters.remotes.repository import HttpRepository
from entrepot.oci.digest import Digest
from entrepot.oci.errors import NameUnknown
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.testing import MockRegistry
from entrepot.testing import example_images as examples
from entrepot.testing.image_end_contents import reading, store
from entrepot.testing.image_end_suite import ImageEndSuite
from tests.docker_registry import RunningDockerRegistry
from tests.remote_registries import remote
from tests.server import RunningServer

_numbers = count(1)


class RemotePlace:
    """A new repository; every End has connections of its own, which end with the test."""

    def __init__(self, host: str, stack: AsyncExitStack, **settings: Any) -> None:
        self._host = host
        self._stack = stack
        self._settings = settings
        self._name = RepositoryName(f"contract/repository-{next(_numbers)}")

    async def source(self, reference: Tag | Digest | None = None) -> HttpRepository:
        registry = await self._stack.enter_async_context(remote(self._host, **self._settings))
        return registry.repository(self._name, reference)

    async def target(self) -> HttpRepository:
        return await self.source()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDockerRegistry]:
    server = RunningDockerRegistry(tmp_path_factory.mktemp("docker-registry"))
    yield server
    server.kill()


@pytest.fixture
def mock_registry() -> Iterator[MockRegistry]:
    with MockRegistry() as registry:
        yield registry


class RemoteSuite(ImageEndSuite):
    # How much of what was sent has arrived when a source breaks off, nobody knows exactly.
    continues = False

    @pytest_asyncio.fixture
    async def stack(self) -> AsyncIterator[AsyncExitStack]:
        async with AsyncExitStack() as stack:
            yield stack


class TestOurs(RemoteSuite):
    @pytest.fixture
    def place(self, ours: RunningServer, stack: AsyncExitStack, tmp_path: Path) -> RemotePlace:
        return RemotePlace(ours.host, stack, uploads=tmp_path)


class TestOursInChunks(RemoteSuite):
    @pytest.fixture
    def place(self, ours: RunningServer, stack: AsyncExitStack, tmp_path: Path) -> RemotePlace:
        return RemotePlace(ours.host, stack, uploads=tmp_path, noted=0, chunk_size=1_000_000)


@pytest.mark.real("docker-registry")
class TestDockerRegistry(RemoteSuite):
    algorithms = ("sha256",)

    @pytest.fixture
    def place(
        self, docker_registry: RunningDockerRegistry, stack: AsyncExitStack, tmp_path: Path
    ) -> RemotePlace:
        return RemotePlace(docker_registry.host, stack, uploads=tmp_path, noted=0)

    async def test_an_image_without_a_tag_is_found(  # type: ignore[override]
        self, place: RemotePlace
    ) -> None:
        """It lists no tags of a repository without any, and says that there is no such name."""
        example = examples.image()
        await store(place, example)
        async with reading(place) as source:
            assert (await source.resolve(example.root.digest)).digest == example.root.digest
            with pytest.raises(NameUnknown, match="contract/repository"):
                await source.tags()


class TestMockWithoutReferrers(RemoteSuite):
    algorithms = ("sha256",)  # a tag that is pushed always means a sha256 digest

    @pytest.fixture
    def place(
        self, mock_registry: MockRegistry, stack: AsyncExitStack, tmp_path: Path
    ) -> RemotePlace:
        mock_registry.abilities.referrers = False
        mock_registry.abilities.relative_locations = True
        return RemotePlace(mock_registry.host, stack, uploads=tmp_path, noted=0)
