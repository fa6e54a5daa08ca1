"""Databases for tests of what is particular to an engine."""

import shutil
from pathlib import Path

import pytest

from entrepot.testing.postgresql import PostgresqlServer


@pytest.fixture
def sqlite_file(migrated_sqlite: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(migrated_sqlite, tmp_path))


@pytest.fixture
def postgresql_url(postgresql: PostgresqlServer, migrated_postgresql: str) -> str:
    return postgresql.url(postgresql.create_database(like=migrated_postgresql))
