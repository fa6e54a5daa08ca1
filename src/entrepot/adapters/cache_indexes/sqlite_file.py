"""The file of a cache index: opened one process at a time, made when new, set aside if corrupt.

Beside `index.db` and what SQLite keeps there lie

    index.db-writer    locked by who writes or opens: processes take turns
    index.db-users     locked, shared, by all who have the index open
    index.db-corrupt   says that the file was found corrupt
    index.db.aside     what was corrupt, for people to look at; only the last one is kept

A corrupt file is set aside only when nobody else has it open: they would go on with the old one.
"""

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from entrepot.adapters.cache_indexes import sqlite_statements as sql
from entrepot.adapters.cache_indexes.sqlite_errors import is_corrupt, marker, sqlite_errors
from entrepot.adapters.cache_indexes.sqlite_schema import MIGRATIONS, Migration, migrate
from entrepot.oci.errors import Unavailable
from entrepot.sqlite.connections import (
    CACHE_KIB,
    LOG_BYTES,
    PATIENCE,
    open_reader,
    require_sqlite,
    turn,
)

BOOT: Final = "boot_id"

_FILE: Final = "the cache index"


@dataclass(frozen=True, slots=True)
class IndexFile:
    """An open index: a connection to write with, and the locks of this process."""

    path: Path
    connection: sqlite3.Connection
    turns: IO[bytes]
    users: IO[bytes]
    was_corrupt: bool
    """Whether a corrupt file was set aside for this one."""

    def reading(self) -> sqlite3.Connection:
        """Open one more connection, which cannot write. Raise Unavailable."""
        with sqlite_errors(self.path):
            return open_reader(self.path)

    def turn(self) -> AbstractContextManager[None]:
        """Hold the lock that processes take turns to write by. Raise Unavailable."""
        return turn(self.turns, _FILE)

    def close(self) -> None:
        """Close the connection and give back the locks."""
        self.connection.close()
        self.turns.close()
        self.users.close()


def open_file(path: Path, boot: str, migrations: tuple[Migration, ...] = MIGRATIONS) -> IndexFile:
    """Open the index, made or brought up to date if need be. `boot` is the machine's boot id.

    It blocks. Raise StoreFull, Unavailable.
    """
    require_sqlite()
    with contextlib.ExitStack() as stack, _words_of_the_system(path):
        turns = stack.enter_context(_beside(path, "-writer").open("wb"))
        users = stack.enter_context(_beside(path, "-users").open("wb"))
        with turn(turns, _FILE):
            connection, was_corrupt = _opened(path, users, boot, migrations)
            stack.callback(connection.close)
            fcntl.flock(users, fcntl.LOCK_SH)
        stack.pop_all()  # the caller closes them from here on
    return IndexFile(path, connection, turns, users, was_corrupt)


def _opened(
    path: Path, users: IO[bytes], boot: str, migrations: tuple[Migration, ...]
) -> tuple[sqlite3.Connection, bool]:
    """Return a connection to a sound file, and whether a corrupt one had to go for it."""
    if not marker(path).exists():
        try:
            return _connected(path, boot, migrations), False
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
    _set_aside(path, users)
    return _connected(path, boot, migrations), True


def _connected(path: Path, boot: str, migrations: tuple[Migration, ...]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise Unavailable(f"it stays in journal mode {mode}; keep it on a local disk")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        migrate(connection, migrations)
        if connection.execute(sql.META, (BOOT,)).fetchone() is None:
            connection.execute(sql.SET_META, (BOOT, boot))
        connection.execute(sql.USAGE).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _set_aside(path: Path, users: IO[bytes]) -> None:
    """Rename the corrupt file. The mark stays until the last step, in case of a crash."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Unavailable(
            "it is corrupt, and other processes have it open; stop them all, then start again"
        ) from None
    marker(path).touch()
    aside = path.with_name(path.name + ".aside")
    # The log first: SQLite would write what it holds into a new file of the same name.
    for suffix in ("-wal", ""):
        with contextlib.suppress(FileNotFoundError):
            _beside(path, suffix).replace(_beside(aside, suffix))
    _beside(path, "-shm").unlink(missing_ok=True)
    marker(path).unlink()


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@contextmanager
def _words_of_the_system(path: Path) -> Iterator[None]:
    """Say which file it was that could not be opened, and what to do."""
    try:
        with sqlite_errors(path):
            yield
    except OSError as error:
        raise Unavailable(
            f"the cache index {path} cannot be opened ({error}); its folder must be there, on a "
            "local disk, and writable"
        ) from error
    except Unavailable as error:
        if str(path) in error.message:
            raise
        raise Unavailable(f"the cache index {path} cannot be opened: {error.message}") from error
