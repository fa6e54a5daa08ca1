"""A process that writes spools and serves them: `spool_process.py ROOT TIMEOUT [CERTIFICATE KEY]`.

It tells its port (and with a certificate its TLS port) on a line. GET answers with content, whole
or by Range: from its file, or behind its writer. Everything else is an order about the one spool
that this process writes, answered by its offset, or by the name of the error.
"""

import asyncio
import random
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

import uvloop

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import BlobUnknown, RegistryError, Unavailable
from entrepot.ports.delivery import Delivery, File, Follow, Inline
from entrepot.ports.spools import SpoolWriter
from entrepot.server.connections import Server
from entrepot.server.limits import Limits
from entrepot.server.tls import tls_context
from entrepot.web.message import Request, Response

PIECE: Final = 256 << 10
"""How much a writer gets at once, in bytes."""

_PERIOD: Final = random.Random(7).randbytes((1 << 20) + 7)


def content(offset: int, length: int) -> bytes:
    """Return a part of the endless content that everybody here writes and expects."""
    start = offset % len(_PERIOD)
    times = (start + length) // len(_PERIOD) + 1
    return (_PERIOD * times)[start : start + length]


def digest_of(size: int) -> Digest:
    """Return the digest of the first `size` bytes."""
    hasher = Hasher()
    for at in range(0, size, PIECE):
        hasher.update(content(at, min(PIECE, size - at)))
    return hasher.digest()


class Process:
    """One process's spools, and what it may be told to do."""

    def __init__(self, root: Path) -> None:
        self._store = FilesystemContentStore(root, durable=False, memory=0)
        self._spools = self._store.spools()
        self._writer: SpoolWriter | None = None
        self.asked = 0

    async def __call__(self, request: Request) -> Response:
        self.asked += 1
        try:
            if request.method in ("GET", "HEAD"):
                return await self._read(request)
            order = dict(parse_qsl(request.query))
            return Response(200, body=Inline(str(await self._obey(request.path, order)).encode()))
        except RegistryError as error:
            return Response(503, body=Inline(type(error).__name__.encode()))

    async def _read(self, request: Request) -> Response:
        if request.path == "/vanishing":
            return self._vanishing()
        digest = Digest.parse(request.path[1:])
        field = request.headers.get("range")
        delivery = await self._deliver(digest, field)
        return Response(206 if field else 200, body=delivery)

    def _vanishing(self) -> Response:
        """Name a file that is evicted before it is opened; the second time, answer otherwise."""
        if self.asked % 2:
            return Response(200, body=File(Path("/nowhere/at/all"), 0, 5))
        return Response(200, body=Inline(b"again"))

    async def _deliver(self, digest: Digest, field: str | None) -> Delivery:
        spool = await self._spools.follow(digest)
        size = spool.size if spool is not None else await self._store.size(digest)
        offset, length = 0, size
        if field is not None:
            first, _, last = field.removeprefix("bytes=").partition("-")
            offset, length = int(first), int(last) + 1 - int(first)
        if spool is not None:
            return Follow(spool, offset, length)
        return await self._store.open(digest, offset, length)

    async def _obey(self, path: str, order: Mapping[str, str]) -> int:
        if path == "/begin":
            self._writer = await self._spools.begin(
                Digest.parse(order["digest"]), int(order["size"])
            )
        writer = self._writer
        if writer is None:
            raise Unavailable("another process writes it")
        if path == "/write":
            await asyncio.to_thread(self._write, writer, int(order["count"]), "wrong" in order)
        elif path == "/commit":
            await writer.commit()
        elif path == "/release":
            await writer.release()
        elif path == "/discard":
            await writer.discard(BlobUnknown("the upstream has it no more"))
        return writer.offset

    def _write(self, writer: SpoolWriter, count: int, wrong: bool) -> None:
        """Write so many bytes behind what is there, the last one `wrong`, from memory that is
        used again."""
        block, end = bytearray(PIECE), writer.offset + count
        while (at := writer.offset) < end:
            length = min(PIECE, end - at)
            block[:length] = content(at, length)
            if wrong and at + length == end:
                block[length - 1] ^= 1
            writer.write(memoryview(block)[:length])


async def serve(root: Path, timeout: float, certificate: list[str]) -> None:
    process = Process(root)
    ports = []
    contexts = [None]
    if certificate:
        contexts.append(tls_context(Path(certificate[0]), Path(certificate[1]), http2=True))
    for tls in contexts:
        server = Server(
            process,
            Limits(body_timeout=timeout),
            refuse=lambda status, text: Response(status, body=Inline(text.encode())),
            observe=lambda request, response, sent, seconds: None,
            fault=lambda request, error: print(type(error).__name__, file=sys.stderr, flush=True),
        )
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        ports.append(listener.getsockname()[1])
        await server.start([listener], tls)
    print(*ports, flush=True)
    # The test holds the other end of the input: a process without a test ends.
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def watch() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
