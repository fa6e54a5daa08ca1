"""Databases for tests of what is particular to an engine."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.adapters.metadata_stores.migrate import migrate
from entrepot.testing.postgresql import PostgresqlServer, postgresql_or_skip


@pytest.fixture(scope="package")
def server() -> Iterator[PostgresqlServer]:
    yield from postgresql_or_skip()


@pytest.fixture(scope="package")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to look at, not to write to."""
    path = tmp_path_factory.mktemp("sqlite") / "metadata.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_file(migrated_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(migrated_file, tmp_path))


@pytest.fixture(scope="package")
def migrated_database(server: PostgresqlServer) -> str:
    """The name of a database to look at, not to write to."""
    name = server.create_database()
    migrate(server.url(name))
    return name


@pytest.fixture
def postgresql_url(server: PostgresqlServer, migrated_database: str) -> str:
    return server.url(server.create_database(like=migrated_database))
