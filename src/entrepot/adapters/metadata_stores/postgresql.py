"""PostgreSQL: every statement prepared, on a small pool of connections.

Transactions run at PostgreSQL's default isolation, READ COMMITTED, and lock the rows they
decide upon in the order that `statements` gives; a deadlock or a lost race is run again.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Concatenate, Final

import psycopg
from psycopg import AsyncConnection, errors

from entrepot.adapters.metadata_stores.database import (
    Conflict,
    P,
    Row,
    Statement,
    T,
    Transaction,
    Value,
)
from entrepot.adapters.metadata_stores.postgresql_pool import BUSY, GONE, Pool
from entrepot.oci.errors import StoreFull, Unavailable

POOL_SIZE: Final = 8
"""Connections of one worker at most; the server's `max_connections` must bear all workers'."""
ATTEMPTS: Final = 10
"""How often a transaction that meets others is run before its caller is told to come back."""

RUN_AGAIN: Final = (Conflict, errors.SerializationFailure, errors.DeadlockDetected)


def refusal(error: psycopg.Error) -> Exception:
    """Return what to raise for an error of PostgreSQL; a broken rule of the schema is a bug."""
    if isinstance(error, errors.DiskFull):
        return StoreFull("no space is left for the metadata database; free some, then try again")
    if isinstance(error, BUSY):
        return Unavailable("the metadata database is too busy to answer in time; try again")
    if isinstance(error, GONE):
        return Unavailable("the metadata database does not answer; try again later")
    return error


class PostgresqlTransaction:
    """An open transaction of one connection."""

    def __init__(self, connection: AsyncConnection[Row]) -> None:
        self._connection = connection

    async def fetch_one(self, statement: Statement, /, **parameters: Value) -> Row | None:
        rows = await self.fetch_all(statement, **parameters)
        return rows[0] if rows else None

    async def fetch_all(self, statement: Statement, /, **parameters: Value) -> list[Row]:
        text = statement.postgresql
        cursor = await self._connection.execute(text, parameters, prepare=True)
        return await cursor.fetchall()

    async def execute(self, statement: Statement, /, **parameters: Value) -> int:
        text = statement.postgresql
        cursor = await self._connection.execute(text, parameters, prepare=True)
        return cursor.rowcount

    def elements(self, values: Sequence[str] | Sequence[int]) -> Value:
        return list(values)  # type: ignore[return-value]


class PostgresqlDatabase:
    """One database, used by one process."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, url: str, *, durable: bool) -> "PostgresqlDatabase":
        """Connect to a migrated database. Raise Unavailable if there is no answer.

        If not `durable`, a commit is not synced: a crash of the server may undo the last ones.
        """
        database = cls(Pool(url, POOL_SIZE, synchronous_commit=durable))
        async with database._connection():
            return database

    async def fetch_one(self, statement: Statement, /, **parameters: Value) -> Row | None:
        async with self._connection() as connection:
            return await PostgresqlTransaction(connection).fetch_one(statement, **parameters)

    async def fetch_all(self, statement: Statement, /, **parameters: Value) -> list[Row]:
        async with self._connection() as connection:
            return await PostgresqlTransaction(connection).fetch_all(statement, **parameters)

    def elements(self, values: Sequence[str] | Sequence[int]) -> Value:
        return list(values)  # type: ignore[return-value]

    async def write(
        self,
        work: Callable[Concatenate[Transaction, P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        async with self._connection(writes=True) as connection:
            for _ in range(ATTEMPTS):
                try:
                    async with connection.transaction():
                        return await work(PostgresqlTransaction(connection), *args, **kwargs)
                except RUN_AGAIN:
                    continue
        raise Unavailable("too many others change the same metadata; try again")

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def _connection(self, *, writes: bool = False) -> AsyncIterator[AsyncConnection[Row]]:
        try:
            async with self._pool.connection(writes=writes) as connection:
                yield connection
        except psycopg.Error as error:
            translated = refusal(error)
            if translated is error:
                raise
            raise translated from error
