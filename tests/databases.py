"""A pytest plugin: metadata databases, made once per process and copied for each test."""

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
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
def migrated_sqlite() -> Path:
    """A file to look at and to copy, not to write to."""
    return migrated_file()


@cache
def migrated_file() -> Path:
    """Return a file with the schema, which is gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="entrepot-schema-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "metadata.db"
    migrate(f"sqlite:///{path}")
    return path
