"""All connections of one worker: accepting, time limits, and an orderly end."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Final, Protocol

from entrepot.server.framing import may_repeat, open_body
from entrepot.server.limits import Limits
from entrepot.web.message import Application, Request, Response

FOREVER: Final = float("inf")
SWEEP_INTERVAL: Final = 1.0
TIDY_UP: Final = 3.0
"""Seconds that handlers have to end after their connections were cut."""


class Connection(Protocol):
    """What the server needs of a connection, whatever protocol it speaks."""

    deadline: float
    """When `expire` is to be called, by the server's coarse clock (`Server.now`)."""

    def expire(self) -> None:
        """The deadline has passed: close, or set another one."""

    def drain(self) -> None:
        """Finish the requests in progress, take no further ones, then close."""

    def abort(self) -> None:
        """Close now."""


class Observer(Protocol):
    """Told once per request, after its response was sent or given up."""

    def __call__(self, request: Request, response: Response, sent: int, seconds: float) -> None: ...


class Server:
    """Serves an application on sockets until stopped.

    `refuse(status, message)` makes the response to what never became a request, or whose
    handler failed; `observe` is told of every response, `fault` of errors while one is sent.
    """

    def __init__(
        self,
        app: Application,
        limits: Limits,
        *,
        refuse: Callable[[int, str], Response],
        observe: Observer,
        fault: Callable[[Request, Exception], None],
    ) -> None:
        self.app = app
        self.limits = limits
        self.refuse = refuse
        self.observe = observe
        self.fault = fault
        self.connections: set[Connection] = set()
        self.stopping = False
        self.now = 0.0
        self.time = ""
        self.date = ""
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event = asyncio.Event()
        self._idle: asyncio.Event = asyncio.Event()
        self._handling = 0

    async def start(
        self, sockets: Iterable[socket.socket], tls: ssl.SSLContext | None = None
    ) -> None:
        """Accept connections on bound, listening sockets."""
        from entrepot.server.http1 import Http1Connection

        loop = asyncio.get_running_loop()
        self._sweep()
        for sock in sockets:
            self._servers.append(
                await loop.create_server(
                    lambda: Http1Connection(self),
                    sock=sock,
                    ssl=tls,
                    ssl_handshake_timeout=self.limits.header_timeout if tls else None,
                )
            )

    async def stop(self, timeout: float) -> bool:
        """Accept no more, let running requests end within `timeout` seconds, then close all.

        Return whether every request ended by itself.
        """
        self.stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.drain()
        orderly = True
        if self.connections:
            self._empty.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._empty.wait()
            except TimeoutError:
                orderly = False
        for connection in list(self.connections):
            connection.abort()
        # Handlers whose connection was cut still tidy up behind themselves.
        self._idle.clear()
        if self._handling:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TIDY_UP):
                    await self._idle.wait()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return orderly

    def admit(self, connection: Connection) -> bool:
        """Register a new connection; False if there are too many."""
        if len(self.connections) >= self.limits.max_connections:
            return False
        self.connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is closed."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def answer(self, request: Request) -> tuple[Response, int]:
        """Run the application, and open the file that its response sends (-1 without one).

        A fault in it becomes a 500, never a broken connection. Content that has been evicted
        between its decision and the opening is asked for once more.
        """
        response = await self._ask(request)
        opened, file = open_body(request, response, self.refuse, last=not may_repeat(request))
        if opened is None:
            response = await self._ask(request)
            opened, file = open_body(request, response, self.refuse, last=True)
        return opened or response, file

    async def _ask(self, request: Request) -> Response:
        self._handling += 1
        try:
            return await self.app(request)
        except Exception:
            response = self.refuse(500, "the server failed to handle this request")
            response.close = True
            return response
        finally:
            self._handling -= 1
            if not self._handling:
                self._idle.set()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = now = loop.time()
        self.time = formatdate(usegmt=True)
        self.date = f"Date: {self.time}\r\n"
        for connection in list(self.connections):
            if connection.deadline < now:
                with contextlib.suppress(Exception):
                    connection.expire()
        self._sweeper = loop.call_later(SWEEP_INTERVAL, self._sweep)
