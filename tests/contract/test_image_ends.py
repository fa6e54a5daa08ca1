"""Every End keeps the contract of `entrepot.ports.image_end`."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.adapters.ends.docker_archive import DockerArchiveSource
from entrepot.adapters.ends.docker_archive_target import DockerArchiveTarget
from entrepot.adapters.ends.layout import LayoutEnd
from entrepot.adapters.ends.oci_archive import OciArchiveSource, OciArchiveTarget
from entrepot.bootstrap import opened
from entrepot.config import Settings, StorageSettings
from entrepot.oci.digest import Digest
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.services.registry import Registry
from entrepot.services.store_end import StoreEnd
from entrepot.testing import ImageEndSuite, MemoryEnd, MemoryImages


class MemoryPlace:
    def __init__(self) -> None:
        self.images = MemoryImages()

    async def source(self, reference: Tag | Digest | None = None) -> MemoryEnd:
        return MemoryEnd(self.images, reference)

    async def target(self) -> MemoryEnd:
        return MemoryEnd(self.images)


class TestMemoryEnd(ImageEndSuite):
    @pytest.fixture
    def place(self) -> MemoryPlace:
        return MemoryPlace()

    async def test_memory_is_constant(self) -> None:  # type: ignore[override]
        """It is all in memory."""


class LayoutPlace:
    def __init__(self, path: Path) -> None:
        self.path = path

    async def source(self, reference: Tag | Digest | None = None) -> LayoutEnd:
        return LayoutEnd(self.path, reference)

    async def target(self) -> LayoutEnd:
        return LayoutEnd(self.path)


class TestLayoutEnd(ImageEndSuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> LayoutPlace:
        return LayoutPlace(tmp_path / "layout")


class OciArchivePlace:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    async def source(self, reference: Tag | Digest | None = None) -> OciArchiveSource:
        return await OciArchiveSource.open(self.path, reference)

    async def target(self) -> OciArchiveTarget:
        return OciArchiveTarget(self.path)


class TestOciArchive(ImageEndSuite):
    adds = False
    commits = True

    @pytest.fixture
    def place(self, tmp_path: Path) -> OciArchivePlace:
        return OciArchivePlace(tmp_path / "image.tar")


class DockerArchivePlace:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    async def source(self, reference: Tag | Digest | None = None) -> DockerArchiveSource:
        return await DockerArchiveSource.open(self.path, None, reference)

    async def target(self) -> DockerArchiveTarget:
        return DockerArchiveTarget(self.path, "localhost:5000/an/example")


class TestDockerArchive(ImageEndSuite):
    holds_indexes = False
    holds_artifacts = False
    adds = False
    commits = True

    @pytest.fixture
    def place(self, tmp_path: Path) -> DockerArchivePlace:
        return DockerArchivePlace(tmp_path / "image.tar")


class StorePlace:
    """A repository of a data directory: content in files, metadata in SQLite."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    async def source(self, reference: Tag | Digest | None = None) -> StoreEnd:
        return StoreEnd(self.registry, RepositoryName("an/example"), reference)

    async def target(self) -> StoreEnd:
        return StoreEnd(self.registry, RepositoryName("an/example"))


class TestStoreEnd(ImageEndSuite):
    @pytest.fixture
    async def place(self, migrated_sqlite: Path, tmp_path: Path) -> AsyncIterator[StorePlace]:
        shutil.copy(migrated_sqlite, tmp_path / "metadata.db")
        storage = StorageSettings(path=tmp_path, durable=False)
        async with opened(Settings(storage=storage)) as registry:
            yield StorePlace(registry)
