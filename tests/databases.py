"""A pytest plugin: metadata databases, made once per run and copied for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.adapters.metadata_stores.migrate import migrate
from entrepot.testing.postgresql import PostgresqlServer, postgresql_or_skip


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A real PostgreSQL, shared by all tests; without one they are not run."""
    yield from postgresql_or_skip()


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: PostgresqlServer) -> str:
    """The name of a database to look at and to copy, not to write to."""
    name = postgresql.create_database()
    migrate(postgresql.url(name))
    return name


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to look at and to copy, not to write to."""
    path = tmp_path_factory.mktemp("sqlite") / "metadata.db"
    migrate(f"sqlite:///{path}")
    return path
