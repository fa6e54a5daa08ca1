"""A database is brought to the schema once, quickly, and by one process at a time."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from entrepot.adapters.metadata_stores.migrate import REVISION, is_current, migrate
from entrepot.adapters.metadata_stores.migrations.upgrade import configuration
from entrepot.adapters.metadata_stores.schema import metadata
from entrepot.oci.errors import Unavailable
from entrepot.testing.postgresql import PostgresqlServer

MIGRATE = """
import sys
from entrepot.adapters.metadata_stores.migrate import migrate
migrate(sys.argv[1])
print(*sorted({"alembic", "sqlalchemy"} & sys.modules.keys()))
"""


def start_migration(url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", MIGRATE, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def differences(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": metadata})
        found: list[Any] = compare_metadata(context, metadata)
        return found


def test_the_revision_is_the_newest() -> None:
    with closing(create_engine("sqlite://").connect()) as connection:
        script = ScriptDirectory.from_config(configuration(connection))
        assert script.get_current_head() == REVISION


class EngineTests:
    """What holds on both engines, given the URL of an empty database."""

    def set_revision(self, url: str, revision: str) -> None:
        raise NotImplementedError

    def test_only_a_database_that_is_behind_needs_alembic(self, empty: str) -> None:
        assert not is_current(empty)
        assert start_migration(empty).communicate()[0] == "alembic sqlalchemy\n"
        assert is_current(empty)
        assert start_migration(empty).communicate()[0] == "\n"

    @pytest.mark.parametrize("count", [2, pytest.param(5, marks=pytest.mark.slow)])
    def test_several_processes_may_start_at_once(self, empty: str, count: int) -> None:
        processes = [start_migration(empty) for _ in range(count)]
        for process in processes:
            output = process.communicate()[0]
            assert process.returncode == 0, output
        assert is_current(empty)

    def test_a_database_of_a_newer_version_is_refused(self, empty: str) -> None:
        migrate(empty)
        self.set_revision(empty, "9999")
        with pytest.raises(Unavailable, match="another version"):
            migrate(empty)


class TestSqlite(EngineTests):
    @pytest.fixture
    def empty(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'metadata.db'}"

    def set_revision(self, url: str, revision: str) -> None:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
            connection.commit()

    def test_the_upgrade_gives_exactly_the_schema(self, tmp_path: Path) -> None:
        migrated, created = tmp_path / "migrated.db", tmp_path / "created.db"
        migrate(f"sqlite:///{migrated}")
        metadata.create_all(create_engine(f"sqlite:///{created}", poolclass=NullPool))
        assert differences(create_engine(f"sqlite:///{migrated}", poolclass=NullPool)) == []
        assert self.schema(migrated) == self.schema(created)

    def schema(self, path: Path) -> dict[str, str]:
        query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%'"
        with closing(sqlite3.connect(path)) as connection:
            return dict(connection.execute(query).fetchall())

    def test_the_file_is_in_wal_mode(self, sqlite_file: Path) -> None:
        with closing(sqlite3.connect(sqlite_file)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_a_file_that_cannot_be_opened_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match=r"missing/metadata\.db"):
            migrate(f"sqlite:///{tmp_path}/missing/metadata.db")

    def test_a_file_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("not a database, and long enough to be one" * 100)
        with pytest.raises(Unavailable, match="no metadata database"):
            migrate(f"sqlite:///{path}")
        assert path.read_text().startswith("not a database")


@pytest.mark.real
class TestPostgresql(EngineTests):
    @pytest.fixture
    def empty(self, postgresql: PostgresqlServer) -> str:
        return postgresql.url(postgresql.create_database())

    def set_revision(self, url: str, revision: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE alembic_version SET version_num = %s", (revision,))

    def test_the_upgrade_gives_exactly_the_schema(
        self, postgresql: PostgresqlServer, empty: str
    ) -> None:
        migrate(empty)
        created = postgresql.url(postgresql.create_database())
        metadata.create_all(self.engine(created))
        assert differences(self.engine(empty)) == []
        with psycopg.connect(empty) as connection:
            connection.execute("DROP TABLE alembic_version")
        assert self.schema(postgresql, empty) == self.schema(postgresql, created)

    def engine(self, url: str) -> Engine:
        connect: Callable[[], psycopg.Connection] = lambda: psycopg.connect(url)  # noqa: E731
        return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)

    def schema(self, postgresql: PostgresqlServer, url: str) -> str:
        dump = [postgresql.programs / "pg_dump", "--schema-only", url]
        text = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
        return re.sub(r"(?m)^\\(un)?restrict .*$", "", text)  # a new password in each dump

    def test_the_reason_why_a_server_refuses_is_told(self, postgresql: PostgresqlServer) -> None:
        with pytest.raises(Unavailable, match=r'database "nothing" does not exist'):
            migrate(postgresql.url("nothing"))

    def test_a_server_that_is_not_there_is_unavailable(self) -> None:
        with pytest.raises(Unavailable, match="does not answer"):
            migrate("postgresql://entrepot@127.0.0.1:1/nothing")
