"""Streamed request bodies: their pace, early answers, and what ends them."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Generator
from dataclasses import replace
from typing import cast

import pytest

from entrepot.adapters.remotes.exchange import Body, Request
from entrepot.adapters.remotes.transport import CurlTransport
from entrepot.oci.errors import ConnectionLost, DigestInvalid, SizeInvalid
from tests.integration.remotes.scripted_server import Peer, respond, scripted

MIB = 1 << 20


@pytest.fixture
async def transport() -> AsyncIterator[CurlTransport]:
    made = CurlTransport(environment={})
    yield made
    await made.close()


class Source:
    """A body whose reading can be watched: `given` chunks so far, and whether it was `closed`."""

    def __init__(self, *chunks: bytes, error: Exception | None = None, pause: float = 0) -> None:
        self.chunks = chunks
        self.error = error
        self.pause = pause
        self.given = 0
        self.closed = 0
        self.begun = asyncio.Event()

    def body(self, length: int | None = None) -> Body:
        return Body(sum(map(len, self.chunks)) if length is None else length, self.read)

    async def read(self) -> AsyncIterator[bytes]:
        try:
            for chunk in self.chunks:
                await asyncio.sleep(self.pause)
                self.given += 1
                self.begun.set()
                yield chunk
            if self.error is not None:
                raise self.error
        finally:
            self.closed += 1


class Stored(Source):
    """One that a thread reads."""

    def body(self, length: int | None = None) -> Body:
        self.loop = asyncio.get_running_loop()
        return replace(super().body(length), blocks=self.opened)

    async def opened(self) -> Generator[bytes, None, None]:
        return self.blocks()

    def blocks(self) -> Generator[bytes, None, None]:
        try:
            for chunk in self.chunks:
                time.sleep(self.pause)
                self.given += 1
                self.loop.call_soon_threadsafe(self.begun.set)
                yield chunk
            if self.error is not None:
                raise self.error
        finally:
            self.closed += 1


@pytest.fixture(params=[Source, Stored])
def kind(request: pytest.FixtureRequest) -> type[Source]:
    """Who reads the body: a task of the event loop, or the thread that sends it."""
    return cast(type[Source], request.param)


async def stored(peer: Peer) -> None:
    """Take a body as it comes and answer with its digest."""
    while head := await peer.head():
        left = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
        digest = hashlib.sha256()
        while left:
            piece = await peer.reader.read(min(left, 1 << 16))
            if not piece:
                return
            digest.update(piece)
            left -= len(piece)
        await peer.send(respond(digest.hexdigest().encode(), status="201 Created"))


@pytest.mark.parametrize(
    ("length", "size"),
    [(2000, 1), (5000, 1000), (3 * MIB, 65536), (2 * MIB, MIB), (6 * MIB + 1, 2 * MIB), (9, 9)],
    ids=str,
)
async def test_a_body_arrives_whole_however_it_is_cut(
    transport: CurlTransport, kind: type[Source], length: int, size: int
) -> None:
    content = os.urandom(length)
    source = kind(*(content[at : at + size] for at in range(0, length, size)))
    digest = hashlib.sha256(content).hexdigest().encode()
    async with scripted(stored) as server:
        for times in (1, 2):
            request = Request("PUT", server.url, body=source.body())
            async with transport.send(request) as response:
                assert response.status == 201
                assert await response.read(64) == digest
            assert source.closed == times
        assert len(server.peers) == 1


async def test_a_body_that_comes_slowly_is_waited_for(
    transport: CurlTransport, kind: type[Source]
) -> None:
    source = kind(b"one", b"two", b"three", pause=0.05)
    async with scripted(stored) as server:
        async with transport.send(Request("PATCH", server.url, body=source.body())) as response:
            assert response.status == 201
        assert source.closed == 1


@pytest.mark.parametrize("block", [256 * 1024, MIB, 3 * MIB], ids=str)
async def test_a_server_that_does_not_read_stops_the_body(
    transport: CurlTransport, kind: type[Source], block: int
) -> None:
    count = 64 * MIB // block
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await go_on.wait()
        await peer.send(respond(str(len(await peer.body())).encode()))

    source = kind(*[bytes(block)] * count)
    async with scripted(script) as server:

        async def put() -> bytes:
            async with transport.send(Request("PUT", server.url, body=source.body())) as response:
                return await response.read(99)

        putting = asyncio.create_task(put())
        before = -1
        while before != source.given:  # until nothing more is taken
            before = source.given
            await asyncio.sleep(0.2)
        assert 0 < source.given < count // 2  # ours and the kernel's buffers
        go_on.set()
        assert await putting == str(count * block).encode()


@pytest.mark.parametrize("status", ["307 Elsewhere", "401 Who", "413 Too Large", "503 Later"])
@pytest.mark.parametrize(
    ("kind", "stays"),
    # A server in another thread or process that closes at once may be noticed by the sending
    # first: libcurl then looks for no answer any more.
    [(Source, True), (Source, False), (Stored, True)],
    ids=["stays", "closes", "stays-thread"],
)
async def test_an_answer_before_the_body_has_been_sent_is_the_answer(
    transport: CurlTransport, kind: type[Source], status: str, stays: bool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(10)
        await peer.send(respond(b"no", status=status, fields=("Location: /x",)))
        if stays:
            await peer.gone()

    source = kind(*[bytes(MIB)] * 64)
    async with scripted(script) as server:
        async with transport.send(Request("PUT", server.url, body=source.body())) as response:
            assert response.status == int(status[:3])
            assert await response.read(10) == b"no"
        assert source.given < 64
        assert source.closed == 1


async def test_an_answer_ends_the_wait_for_a_body_that_does_not_come(
    transport: CurlTransport,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(respond(b"no", status="401 Who"))
        await peer.gone()

    source = Source(b"never sent", pause=3600)
    async with scripted(script) as server:
        async with transport.send(Request("PUT", server.url, body=source.body())) as response:
            assert response.status == 401
        assert source.given == 0
        assert source.closed == 1


@pytest.mark.parametrize("position", ["middle", "end"])
async def test_an_error_of_the_body_reaches_the_caller_and_is_never_a_whole_body(
    transport: CurlTransport, kind: type[Source], position: str
) -> None:
    """Also one that comes after the last byte: what reads the body checks it there."""
    error = DigestInvalid("not what it says")
    received = 0
    over = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal received
        await peer.head()
        while piece := await peer.reader.read(1 << 16):
            received += len(piece)
        over.set()

    source = kind(b"a" * MIB, b"b" * MIB, error=error)
    length = 2 * MIB if position == "end" else 4 * MIB
    async with scripted(script) as server:
        with pytest.raises(DigestInvalid) as caught:
            async with transport.send(Request("PUT", server.url, body=source.body(length))):
                pass
        await asyncio.wait_for(over.wait(), 10)
    assert caught.value is error
    assert received < length
    assert source.closed == 1


@pytest.mark.parametrize(
    ("length", "words"), [(5, "longer than the 5 bytes"), (7, "ended after 6 of 7 bytes")]
)
async def test_a_body_of_another_length_than_announced_is_refused(
    transport: CurlTransport, kind: type[Source], length: int, words: str
) -> None:
    source = kind(b"abc", b"def")
    async with scripted(stored) as server:
        with pytest.raises(SizeInvalid, match=words):
            async with transport.send(Request("PUT", server.url, body=source.body(length))):
                pass
    assert source.closed == 1


async def test_a_body_that_cannot_be_opened_tells_why(transport: CurlTransport) -> None:
    def opened() -> AsyncIterator[bytes]:
        raise DigestInvalid("gone")

    async with scripted(stored) as server:
        with pytest.raises(DigestInvalid, match="gone"):
            async with transport.send(Request("PUT", server.url, body=Body(1, opened))):
                pass


async def test_a_connection_that_breaks_while_sending_is_lost(
    transport: CurlTransport, kind: type[Source]
) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(10)
        peer.reset()

    source = kind(*[bytes(MIB)] * 64)
    async with scripted(script) as server:
        with pytest.raises(ConnectionLost, match=f"{server.host}.*broke off.*try again"):
            async with transport.send(Request("PUT", server.url, body=source.body())):
                pass
    assert source.closed == 1


async def test_cancelling_closes_the_body(transport: CurlTransport, kind: type[Source]) -> None:
    source = kind(b"a", b"b", pause=0.05)

    async def put(url: str) -> None:
        async with transport.send(Request("PUT", url, body=source.body(3))):
            pass

    async with scripted(stored) as server:
        putting = asyncio.create_task(put(server.url))
        await source.begun.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert source.closed == 1


async def test_a_download_can_be_the_body_of_an_upload(transport: CurlTransport) -> None:
    """As when a blob is copied between two repositories of one host."""
    content = os.urandom(8 * MIB + 3)

    async def script(peer: Peer) -> None:
        while head := await peer.head():
            if head.startswith("GET"):
                await peer.send(respond(content))
            else:
                body = await peer.body()
                await peer.send(respond(hashlib.sha256(body).hexdigest().encode()))

    async def copy(url: str) -> bytes:
        async with transport.send(Request("GET", url)) as source:
            body = Body(len(content), source.chunks)
            async with transport.send(Request("PUT", url, body=body)) as response:
                return await response.read(64)

    async with scripted(script) as server:
        for digest in await asyncio.gather(*(copy(server.url) for _ in range(4))):
            assert digest == hashlib.sha256(content).hexdigest().encode()
