"""What goes wrong on the way: every failure is one of our errors, and says what to do."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from entrepot.adapters.remotes.exchange import Body, Request
from entrepot.adapters.remotes.transport import CurlTransport
from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.oci.errors import ConnectionLost, HostUnknown, Unavailable
from entrepot.testing.free_ports import free_port
from tests.integration.remotes.scripted_server import Peer, Script, respond, scripted

SECRET = "sig=c2VjcmV0"
NO_HTTP = ("SSH-2.0-OpenSSH_9.2\r\n",)
IMPATIENT = TransportSettings(connect_timeout=0.5, stall_timeout=0.3, response_timeout=1.5)


@asynccontextmanager
async def transport(settings: TransportSettings | None = None) -> AsyncIterator[CurlTransport]:
    made = CurlTransport(settings, {})
    try:
        yield made
    finally:
        await made.close()


async def read(transport: CurlTransport, request: Request) -> None:
    async with transport.send(request) as response:
        async for _ in response.chunks():
            pass


async def lost(
    url: str,
    settings: TransportSettings | None = None,
    method: str = "GET",
    kind: type[Unavailable] = ConnectionLost,
) -> str:
    """Ask a URL that holds a secret and fails; return the error's message."""
    async with transport(settings) as made:
        with pytest.raises(Unavailable) as caught:
            await read(made, Request(method, f"{url}/blob?{SECRET}"))
    assert type(caught.value) is kind
    message = str(caught.value)
    assert SECRET not in message
    assert "blob" not in message
    return message


def sends(*parts: bytes | str, reset: bool = False) -> Script:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(*parts)
        if reset:
            peer.reset()

    return script


async def test_nobody_listens() -> None:
    host = f"127.0.0.1:{free_port()}"
    message = await lost(f"http://{host}")
    assert message.startswith(f"{host} cannot be reached")
    assert "--proxy" in message


async def test_a_name_that_does_not_exist() -> None:
    message = await lost("http://registry.invalid", kind=HostUnknown)
    assert message.startswith("the name of registry.invalid cannot be resolved; check")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"five!"), "ended its answer before"),
        (
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"a\r\nfive!"),
            "ended its answer before",
        ),
        (
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\nfive!"),
            "broke off",
        ),
        (("HTTP/1.1 200 OK\r\nContent-Le",), "closed the connection without an answer"),
        ((), "closed the connection without an answer"),
        (NO_HTTP, "did not answer in HTTP"),
        (("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",), "did not answer in HTTP"),
        (
            ("HTTP/1.1 200 OK\r\n", "X: " + "x" * 400_000 + "\r\n\r\n"),
            "more header fields than are accepted",
        ),
        (
            ("HTTP/1.1 200 OK\r\n", ("X: " + "x" * 1000 + "\r\n") * 500, "\r\n"),
            "more header fields than are accepted",
        ),
    ],
    ids=[
        "short", "short-chunk", "bad-chunk", "half-a-head", "nothing", "no-http", "no-length",
        "long-field", "many-fields",
    ],
)  # fmt: skip
async def test_an_answer_that_is_broken(parts: tuple[bytes | str, ...], words: str) -> None:
    async with scripted(sends(*parts)) as server:
        kind = Unavailable if parts == NO_HTTP else ConnectionLost
        message = await lost(server.url, kind=kind)
    assert server.host in message
    assert words in message


async def test_what_arrived_before_the_end_is_told_first() -> None:
    """So that a download can go on from there."""
    async with (
        scripted(sends("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"five!")) as server,
        transport() as made,
        made.send(Request("GET", server.url)) as response,
    ):
        chunks = response.chunks()
        assert await anext(chunks) == b"five!"
        with pytest.raises(ConnectionLost):
            await anext(chunks)


async def test_a_reset_connection() -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    async with scripted(sends(head, b"five!", reset=True)) as server:
        message = await lost(server.url)
    assert "broke off" in message or "ended its answer" in message
    assert "try again" in message


async def test_plain_http_where_tls_was_expected() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(respond(status="400 Bad Request"))

    async with scripted(script) as server:
        message = await lost(server.url.replace("http:", "https:"), kind=Unavailable)
    assert f"{server.host} answered in plain HTTP where TLS was expected" in message
    assert "--plain-http" in message


# Time


async def test_a_handshake_that_never_comes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        message = await lost(f"https://{host}", TransportSettings(connect_timeout=0.3))
    assert message.startswith(f"{host} did not answer in time")


async def silent(peer: Peer) -> None:
    await peer.head()
    await peer.gone()


@pytest.mark.parametrize(("method", "seconds"), [("GET", "0.3"), ("HEAD", "0.3"), ("PUT", "1.5")])
async def test_a_server_that_never_answers(method: str, seconds: str) -> None:
    """A write may take longer: the registry has to move what was sent."""
    async with scripted(silent) as server:
        message = await lost(server.url, IMPATIENT, method)
    assert message == (
        f"{server.host} sent no answer for {seconds} s; check the network and try again"
    )


async def test_a_body_that_stands_still() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"five!")
        await peer.gone()

    async with scripted(script) as server:
        message = await lost(server.url, IMPATIENT)
    assert f"{server.host} stood still for 0.3 s" in message


async def test_an_upload_that_nobody_reads() -> None:
    async def read() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(1 << 20)

    async def script(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(3600)

    async with scripted(script) as server, transport(IMPATIENT) as made:
        with pytest.raises(ConnectionLost, match=r"stood still for 0\.3 s"):
            async with made.send(Request("PUT", server.url, body=Body(64 << 20, read))):
                pass


async def test_what_moves_slowly_does_not_stand_still() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(0.1)
            await peer.send(b"x")

    async with (
        scripted(script) as server,
        transport(IMPATIENT) as made,
        made.send(Request("GET", server.url)) as response,
    ):
        assert await response.read(10) == b"x" * 10


async def test_a_reader_or_a_body_that_takes_its_time_is_not_the_server_s_fault() -> None:
    async def slow() -> AsyncIterator[bytes]:
        await asyncio.sleep(0.7)
        yield b"late"

    async def script(peer: Peer) -> None:
        while head := await peer.head():
            await peer.body()
            large = bytes(16 << 20) if head.startswith("GET") else b""
            await peer.send(respond(large))

    async with scripted(script) as server, transport(IMPATIENT) as made:
        async with made.send(Request("PUT", server.url, body=Body(4, slow))) as response:
            assert response.status == 200
        async with made.send(Request("GET", server.url)) as response:
            await asyncio.sleep(0.7)
            assert len(await response.read(16 << 20)) == 16 << 20


# Connections that were kept


async def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(respond(b"once"))  # and is closed, though nothing said so

    async with scripted(script) as server, transport() as made:
        for _ in range(3):
            async with made.send(Request("GET", server.url)) as response:
                assert await response.read(4) == b"once"
            await asyncio.sleep(0.05)
        assert len(server.peers) == 3
