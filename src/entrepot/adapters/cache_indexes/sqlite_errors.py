"""SQLite's errors in the registry's words, and the mark that a corrupt file leaves."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from entrepot.oci.errors import StoreFull, Unavailable

_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY: Final = 0xFF
"""The low byte of SQLite's extended error codes."""


def is_corrupt(error: BaseException) -> bool:
    """Say whether SQLite found the file to be damaged."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.Error) and code is not None and code & _PRIMARY in _CORRUPT


def marker(path: Path) -> Path:
    """Return the file whose being there says that the index is corrupt."""
    return path.with_name(path.name + "-corrupt")


def translated(error: BaseException, path: Path) -> BaseException:
    """Return what to raise for an error met while using the index at `path`.

    A file found corrupt is marked, so that the next one to open it sets it aside.
    """
    if not isinstance(error, sqlite3.Error):
        return error
    if is_corrupt(error):
        with contextlib.suppress(OSError):  # then the next who opens it finds out again
            marker(path).touch()
        refusal: Unavailable = Unavailable(
            f"the cache index {path} is corrupt ({error}); restart the server: "
            "it then sets the file aside and makes a new one from the cached content"
        )
    elif getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        refusal = StoreFull(f"no space is left for the cache index {path}; free some")
    else:
        refusal = Unavailable(f"the cache index {path} cannot be used ({error}); try again later")
    refusal.__cause__ = error
    return refusal


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StoreFull or Unavailable."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, path) from error
