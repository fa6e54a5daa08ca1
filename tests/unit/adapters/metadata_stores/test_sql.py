"""The texts are those of the statements, and both engines answer them by an index."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg
import pytest

from entrepot.adapters.metadata_stores import compile as compiler
from entrepot.adapters.metadata_stores import sql
from entrepot.adapters.metadata_stores.database import Statement
from entrepot.testing.postgresql import PostgresqlServer

STATEMENTS: Final = {
    name: value for name, value in vars(sql).items() if isinstance(value, Statement)
}
WITHOUT_INDEX: Final = {"FIND_VERSION"}  # one row

GARBAGE: Final = {
    "links": """
        SELECT repository_id, digest FROM blob_link
        WHERE "references" = 0 AND leased_until < 5 ORDER BY leased_until LIMIT 100
    """,
    "content": "SELECT digest FROM content WHERE links = 0 AND digest > 'x' ORDER BY digest",
    "parents": """
        SELECT manifest FROM manifest_reference
        WHERE repository_id = 1 AND child = 'x' AND kind = 'manifest'
    """,
    "collect": "DELETE FROM content WHERE digest = 'x' AND links = 0",
}
GARBAGE_INDEXES: Final = {
    "links": "blob_link_unreferenced",
    "content": "content_unlinked",
    "parents": "manifest_reference_parents",
    "collect": "",
}


def test_the_texts_are_compiled_from_the_statements() -> None:
    assert compiler.TARGET.read_text(encoding="utf-8") == compiler.render(), (
        f"run python -m {compiler.__name__}"
    )


class TestSqlite:
    @pytest.fixture
    def connection(self, migrated_sqlite: Path) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(migrated_sqlite)) as connection:
            yield connection

    def plan(self, connection: sqlite3.Connection, text: str) -> list[str]:
        parameters = dict.fromkeys(re.findall(r":(\w+)", text))
        rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters)
        return [step for _, _, _, step in rows]

    @pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - WITHOUT_INDEX))
    def test_every_statement_uses_an_index(self, connection: sqlite3.Connection, name: str) -> None:
        for step in self.plan(connection, STATEMENTS[name].sqlite):
            if name == "LIST_EVENTS":
                assert step == "SCAN event"  # in the order of its rows, up to the limit
            elif step != "SCAN given VIRTUAL TABLE INDEX 1:":
                assert not step.startswith("SCAN")
            assert "TEMP B-TREE" not in step

    @pytest.mark.parametrize("name", GARBAGE)
    def test_garbage_is_found_by_an_index(self, connection: sqlite3.Connection, name: str) -> None:
        (step,) = self.plan(connection, GARBAGE[name])
        assert step.startswith("SEARCH")
        assert GARBAGE_INDEXES[name] in step


@pytest.mark.real
class TestPostgresql:
    VALUES: Final = {
        "VARCHAR": "x",
        "BIGINT": 1,
        "TEXT[]": ["x", "y"],
        "BIGINT[]": [1, 2],
        "": 1.5,
    }

    @pytest.fixture
    def connection(
        self, postgresql: PostgresqlServer, migrated_postgresql: str
    ) -> Iterator[psycopg.Connection]:
        with closing(psycopg.connect(postgresql.url(migrated_postgresql))) as connection:
            # A small table is read whole, whatever indexes it has, unless that is forbidden.
            connection.execute("SET enable_seqscan = off")
            yield connection

    def plan(self, connection: psycopg.Connection, text: str) -> str:
        found = re.findall(r"%\((\w+)\)s(?:::(\w+(?:\[\])?))?", text)
        parameters = {name: self.VALUES[kind] for name, kind in found}
        rows = connection.execute(f"EXPLAIN {text}", parameters)  # type: ignore[arg-type]
        return "\n".join(step for (step,) in rows)

    @pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - WITHOUT_INDEX))
    def test_every_statement_uses_an_index(self, connection: psycopg.Connection, name: str) -> None:
        assert "Seq Scan" not in self.plan(connection, STATEMENTS[name].postgresql)

    @pytest.mark.parametrize("name", GARBAGE)
    def test_garbage_is_found_by_an_index(self, connection: psycopg.Connection, name: str) -> None:
        plan = self.plan(connection, GARBAGE[name])
        assert "Seq Scan" not in plan
        assert GARBAGE_INDEXES[name] in plan
