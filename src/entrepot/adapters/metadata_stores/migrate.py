"""Brings a database to the schema of this version, on start and at no other time.

The usual start finds it there with one look at the version row, and imports neither SQLAlchemy
nor alembic. Several processes may start at once: one upgrades while the others wait, then see
that nothing is left to do.
"""

import sqlite3
from pathlib import Path
from typing import Any, Final

from entrepot.adapters.metadata_stores import sql
from entrepot.adapters.metadata_stores.location import sqlite_path
from entrepot.oci.errors import Unavailable

REVISION: Final = "0001"
"""The revision this version works with: the head of `migrations/versions`."""


def is_current(url: str) -> bool:
    """Whether the schema is that of this version; blocking.

    Raise Unavailable if the database cannot be reached.
    """
    path = sqlite_path(url)
    found = _sqlite_revision(path) if path is not None else _postgresql_revision(url)
    return found == REVISION


def migrate(url: str) -> None:
    """Create or upgrade the schema if need be; blocking.

    Raise Unavailable if the database cannot be reached or is newer than this version.
    """
    if is_current(url):
        return
    from entrepot.adapters.metadata_stores.migrations.upgrade import upgrade

    upgrade(url)


def _sqlite_revision(path: Path) -> str | None:
    """Return the revision of a SQLite file, None if it has none."""
    try:
        connection = sqlite3.connect(path)
        try:
            return _only(connection.execute(sql.FIND_VERSION.sqlite).fetchone())
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise Unavailable(
            f"the metadata database {path} cannot be opened ({error}); "
            "its folder must exist and be writable"
        ) from error
    except sqlite3.DatabaseError as error:
        raise Unavailable(f"{path} is no metadata database ({error})") from error


def _postgresql_revision(url: str) -> str | None:
    """Return the revision of a PostgreSQL database, None if it has none."""
    import psycopg

    from entrepot.adapters.metadata_stores.postgresql_connect import connect

    try:
        with connect(url) as connection:
            return _only(connection.execute(sql.FIND_VERSION.postgresql).fetchone())
    except psycopg.errors.UndefinedTable:
        return None
    except psycopg.Error as error:
        raise Unavailable(f"the metadata database cannot be read: {error}") from error


def _only(row: tuple[Any, ...] | None) -> str | None:
    return None if row is None else str(row[0])
