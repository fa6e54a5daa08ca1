"""Upgrades a database to the newest revision in one transaction, one process at a time."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from entrepot.adapters.metadata_stores.location import sqlite_path
from entrepot.adapters.metadata_stores.postgresql_connect import connect
from entrepot.oci.errors import Unavailable

PATIENCE: Final = 60.0
"""Seconds to wait for another process that upgrades the same SQLite file."""
LOCK: Final = 0x656E7472  # "entr": which PostgreSQL advisory lock the upgrade holds


def upgrade(url: str) -> None:
    """Create or upgrade the schema at `url`; blocking.

    Raise Unavailable if the database cannot be reached or is newer than this version.
    """
    try:
        with _exclusive(url) as connection:
            command.upgrade(configuration(connection), "head")
    except CommandError as error:
        raise Unavailable(
            f"the metadata database is of another version ({error}); "
            "run the version that wrote it, or a newer one"
        ) from error
    except (DBAPIError, sqlite3.Error, psycopg.Error) as error:
        raise Unavailable(f"the metadata database cannot be upgraded: {error}") from error


def configuration(connection: Connection) -> Config:
    """Return alembic's configuration for work on an open connection."""
    config = Config()
    config.set_main_option("path_separator", "os")
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _exclusive(url: str) -> Iterator[Connection]:
    """Open a transaction that no other upgrade shares; commit it at the end."""
    path = sqlite_path(url)
    engine = _postgresql(url) if path is None else _sqlite(path)
    begin = "BEGIN IMMEDIATE" if path else f"SELECT pg_advisory_xact_lock({LOCK})"
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql(begin)
        yield connection


def _sqlite(path: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        # Without an isolation level the driver begins and commits nothing by itself.
        connection = sqlite3.connect(path, PATIENCE, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=NullPool)


def _postgresql(url: str) -> Engine:
    return create_engine("postgresql+psycopg://", creator=lambda: connect(url), poolclass=NullPool)
