"""Connecting to PostgreSQL: with time limits, and without ever showing a password.

Only what fails before the connection stands may repeat parts of the URL; what the server says
later does not know it.
"""

import os
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.conninfo import conninfo_to_dict

from entrepot.config import DatabaseURL
from entrepot.oci.errors import Unavailable

LIMITS: Final[dict[str, int]] = {
    "connect_timeout": 10,
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""What a URL that says nothing about it gets: a host that is gone is noticed in 25 seconds.
In seconds, but `tcp_user_timeout`, which is in milliseconds."""


def connect(url: str) -> Connection[tuple[Any, ...]]:
    """Open a connection; blocking. Raise Unavailable, without the password, if none can be."""
    given = _parsed(url)
    try:
        return psycopg.connect(**_limited(given))
    except psycopg.Error as error:
        raise _unreachable(url, given, error) from None


async def connect_async(url: str) -> AsyncConnection[tuple[Any, ...]]:
    """Open a connection in autocommit mode. Raise Unavailable as `connect` does."""
    given = _parsed(url)
    try:
        return await AsyncConnection.connect(**_limited(given), autocommit=True)
    except psycopg.Error as error:
        raise _unreachable(url, given, error) from None


def _parsed(url: str) -> dict[str, Any]:
    try:
        return dict(conninfo_to_dict(url))
    except (psycopg.Error, ValueError):
        # What libpq complains of may be a part of the password.
        raise Unavailable(
            f"the metadata database's URL {DatabaseURL(url).redacted()} is not valid; in a user's "
            "name or password write %25 for %, %40 for @, %2F for /, %3A for : and %3F for ?"
        ) from None


def _limited(given: dict[str, Any]) -> dict[str, Any]:
    limits: dict[str, Any] = dict(LIMITS)
    if "PGCONNECT_TIMEOUT" in os.environ:
        del limits["connect_timeout"]
    return limits | given


def _unreachable(url: str, given: dict[str, Any], error: psycopg.Error) -> Unavailable:
    """Say what went wrong, unless that may repeat a password.

    Behind an `@` or `/` that is not encoded, libpq takes the password's end for the host or the
    database, and its start for the port; then an `@` is left over in one of them.
    """
    places = (given.get(name) for name in ("host", "port", "dbname"))
    safe = not any("@" in str(place) for place in places)
    reason = f" ({' '.join(str(error).split())})" if safe else ""
    return Unavailable(
        f"the metadata database {DatabaseURL(url).redacted()} does not answer{reason}"
    )
