"""A pool of PostgreSQL connections: a limit, the ones that are idle, and no task of its own.

Nothing waits for ever. The server ends statements and waits for locks (`LIMITS`), this pool
ends waits for a connection and, in case the server itself stands still, loans.
"""

import asyncio
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.pq import TransactionStatus

from entrepot.adapters.metadata_stores.postgresql_connect import connect_async
from entrepot.oci.errors import Unavailable

RESERVED: Final = 2
"""Connections that writes leave to reads: writes may all wait for each other's locks."""
WAIT_SECONDS: Final = 10.0
"""How long to wait for others to give a connection back."""
LOAN_SECONDS: Final = 60.0
"""How long a transaction may take with all that it waits for."""

BUSY: Final = (errors.LockNotAvailable, errors.QueryCanceled)
"""The server is well, but something took longer than `LIMITS`."""
GONE: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,
    errors.IdleInTransactionSessionTimeout,
)
"""Unless it is BUSY: no answer, or one from a server that another has taken over from."""

# Limits that the URL, the role or the server sets already are kept.
LIMITS: Final = """
SELECT set_config(name, value, false)
FROM (VALUES ('statement_timeout', '15s'), ('lock_timeout', '5s'),
             ('idle_in_transaction_session_timeout', '60s')) AS wanted (name, value)
WHERE current_setting(name) = '0'
"""
SYNCED: Final = """
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'
"""
NOT_SYNCED: Final = "SET synchronous_commit = off"


class Pool:
    """Up to `size` connections to `url`, opened when they are first needed."""

    def __init__(self, url: str, size: int, *, synchronous_commit: bool) -> None:
        self._url = url
        self._size = size
        self._session = f"{SYNCED if synchronous_commit else NOT_SYNCED}; {LIMITS}"
        self._turns = asyncio.Semaphore(size)
        self._writes = asyncio.Semaphore(size - RESERVED)
        self._idle: list[AsyncConnection[tuple[Any, ...]]] = []
        self._closed = False

    @asynccontextmanager
    async def connection(
        self, *, writes: bool = False
    ) -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
        """Lend a connection in autocommit mode, waiting for one if all are lent.

        Raise Unavailable if none can be opened or comes back in time, and after `close`. An
        error of the block that is GONE ends the connection, so that the next one may find
        another server.
        """
        if self._closed:
            raise Unavailable("the metadata database is closed")
        async with _turn(self._writes) if writes else nullcontext(), _turn(self._turns):
            connection = await self._take()
            try:
                async with asyncio.timeout(LOAN_SECONDS) as limit:
                    yield connection
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise Unavailable("the metadata database takes too long; try again") from error
            except GONE as error:
                if not isinstance(error, (*BUSY, errors.DiskFull)):
                    await connection.close()
                    await self._close_idle()
                raise
            finally:
                await self._give_back(connection)

    async def close(self) -> None:
        """Serve those who wait already, then close every connection. May be called again."""
        self._closed = True
        turns = [self._writes] * (self._size - RESERVED) + [self._turns] * self._size
        for turn in turns:
            await turn.acquire()
        await self._close_idle()
        for turn in turns:
            turn.release()

    async def _take(self) -> AsyncConnection[tuple[Any, ...]]:
        while self._idle:
            connection = self._idle.pop()
            if not _hung_up(connection):
                return connection
            await connection.close()
        try:
            connection = await connect_async(self._url)
        except Unavailable as error:
            # Whoever asked is not to learn where the database is; the log's traceback says it.
            raise Unavailable("the metadata database does not answer; try again later") from error
        try:
            # After connecting, not by `options`: those of the URL and the environment stay.
            await connection.execute(self._session)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _give_back(self, connection: AsyncConnection[tuple[Any, ...]]) -> None:
        if connection.info.transaction_status == TransactionStatus.IDLE:
            self._idle.append(connection)
        else:
            await connection.close()

    async def _close_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()


@asynccontextmanager
async def _turn(turns: asyncio.Semaphore) -> AsyncIterator[None]:
    if turns.locked():
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turns.acquire()
        except TimeoutError:
            raise Unavailable("too many wait for the metadata database; try again later") from None
    else:
        await turns.acquire()
    try:
        yield
    finally:
        turns.release()


def _hung_up(connection: AsyncConnection[tuple[Any, ...]]) -> bool:
    """Say whether the server has ended an idle connection: only then is there news on it."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
