"""Connections to a SQLite file in WAL mode, and the lock by which processes take turns to write."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from entrepot.oci.errors import Unavailable

OLDEST: Final = (3, 38, 0)
"""The first SQLite that always has JSON functions; RETURNING is older."""
PATIENCE: Final = 5.0
"""Seconds to wait for a program other than ours that writes to the file, such as a backup.

Who waits keeps the other processes' turns waiting as well."""
READ_PATIENCE: Final = 1.0
"""Seconds a read may wait, on the event loop, for another process to recover the file."""
CACHE_KIB: Final = 4096
LOG_BYTES: Final = 64 * 1024 * 1024
"""What the write-ahead log is cut back to after a burst."""


def require_sqlite() -> None:
    """Raise Unavailable if this Python's SQLite is too old."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise Unavailable(
            f"SQLite {sqlite3.sqlite_version} is too old; "
            f"run on a Python with SQLite {'.'.join(map(str, OLDEST))} or newer"
        )


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write. Raise sqlite3.Error."""
    reader = sqlite3.connect(path, READ_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        reader.execute("PRAGMA query_only = ON")
        reader.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except BaseException:
        reader.close()
        raise
    return reader


@contextmanager
def turn(turns: IO[bytes], beside: str) -> Iterator[None]:
    """Hold the lock that processes take turns by. Raise Unavailable if it cannot be had; `beside`
    says of what.

    SQLite's own lock would do, but who waits for it sleeps and asks again, so that under load the
    same process wins again and again; for a file's lock the kernel wakes them in order.
    """
    try:
        fcntl.flock(turns, fcntl.LOCK_EX)
    except OSError as error:
        raise Unavailable(
            f"the lock beside {beside} cannot be taken ({error}); try again later"
        ) from error
    try:
        yield
    finally:
        fcntl.flock(turns, fcntl.LOCK_UN)
