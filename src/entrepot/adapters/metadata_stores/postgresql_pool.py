"""A pool of PostgreSQL connections: a limit, the ones that are idle, and no task of its own."""

import asyncio
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from entrepot.oci.errors import Unavailable

CONNECT_SECONDS: Final = 10


class Pool:
    """Up to `size` connections to `url`, opened when they are first needed."""

    def __init__(self, url: str, size: int, *, synchronous_commit: bool) -> None:
        self._url = url
        self._size = size
        self._options = f"-c synchronous_commit={'on' if synchronous_commit else 'off'}"
        self._turns = asyncio.Semaphore(size)
        self._idle: list[AsyncConnection[tuple[Any, ...]]] = []
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
        """Lend a connection in autocommit mode, waiting for one if all are lent.

        Raise psycopg.OperationalError if none can be opened, Unavailable after `close`.
        """
        if self._closed:
            raise Unavailable("the metadata database is closed")
        async with self._turns:
            connection = await self._take()
            try:
                yield connection
            finally:
                await self._give_back(connection)

    async def close(self) -> None:
        """Serve those who wait already, then close every connection. May be called again."""
        self._closed = True
        for _ in range(self._size):
            await self._turns.acquire()
        for connection in self._idle:
            await connection.close()
        self._idle.clear()
        for _ in range(self._size):
            self._turns.release()

    async def _take(self) -> AsyncConnection[tuple[Any, ...]]:
        while self._idle:
            connection = self._idle.pop()
            if not _hung_up(connection):
                return connection
            await connection.close()
        return await AsyncConnection.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            options=self._options,
        )

    async def _give_back(self, connection: AsyncConnection[tuple[Any, ...]]) -> None:
        if connection.info.transaction_status == TransactionStatus.IDLE:
            self._idle.append(connection)
        else:
            await connection.close()


def _hung_up(connection: AsyncConnection[tuple[Any, ...]]) -> bool:
    """Say whether the server has ended an idle connection: only then is there news on it."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
