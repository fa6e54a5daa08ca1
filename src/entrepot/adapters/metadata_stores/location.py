"""Which engine a database URL names."""

from pathlib import Path
from typing import Final

SQLITE: Final = "sqlite:///"
POSTGRESQL: Final = ("postgresql://", "postgres://")


def sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite URL, taken as it stands; None for a PostgreSQL URL.

    Raise ValueError for anything else, without showing what may be a password.
    """
    if url.startswith(SQLITE) and len(url) > len(SQLITE):
        return Path(url[len(SQLITE) :])
    if url.startswith(POSTGRESQL):
        return None
    raise ValueError(
        "a metadata database URL is sqlite:///file.db, sqlite:////absolute/file.db "
        "or postgresql://user@host/database"
    )
