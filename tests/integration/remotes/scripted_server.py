"""A server that answers with exactly the bytes a test scripts, in the test's own event loop."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Peer:
    """One connection as the script sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heads: list[str] = field(default_factory=list)

    async def head(self) -> str:
        """Read a request's head; empty when the client has closed the connection."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError):
            return ""
        self.heads.append(head)
        return head

    async def body(self) -> bytes:
        """Read the body that the last head announced."""
        for line in self.heads[-1].lower().split("\r\n"):
            if line.startswith("content-length:"):
                return await self.reader.readexactly(int(line.partition(":")[2]))
        return b""

    async def send(self, *parts: bytes | str) -> None:
        for part in parts:
            self.writer.write(part.encode("latin-1") if isinstance(part, str) else part)
        await self.writer.drain()

    async def gone(self) -> bool:
        """Wait until the client has closed or reset the connection; drop what it sends."""
        with suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass
        return True

    def reset(self) -> None:
        """Break the connection off, as a crash would."""
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class ScriptedServer:
    """A running server; `peers` are its connections so far."""

    host: str
    scheme: str
    peers: list[Peer] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    @property
    def heads(self) -> list[str]:
        return [head for peer in self.peers for head in peer.heads]


@asynccontextmanager
async def scripted(
    script: Script, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    """Run a server whose every connection follows `script`, then is closed."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        running.peers.append(peer)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(peer)
        except ConnectionError:
            pass  # the client has gone, which the test judges by itself
        except asyncio.CancelledError:
            pass  # the test is over
        except Exception as error:
            running.failures.append(error)
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    running = ScriptedServer(host, "https" if tls else "http")
    try:
        yield running
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await server.wait_closed()
    assert not running.failures, running.failures


def respond(body: bytes = b"", *, status: str = "200 OK", fields: tuple[str, ...] = ()) -> bytes:
    """Return a response with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def echo(peer: Peer) -> None:
    """Answer every request with its own head and body, until the client goes."""
    while head := await peer.head():
        await peer.send(respond(head.encode("latin-1") + await peer.body()))
