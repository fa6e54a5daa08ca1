"""The transport against scripted bytes: requests, heads, bodies, connections, cancellation."""

import asyncio
import gc
import os
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from entrepot.adapters.remotes.exchange import Body, Request
from entrepot.adapters.remotes.transport import CurlTransport
from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.oci.errors import ConnectionLost, SizeInvalid, Unsupported
from tests.integration.remotes.scripted_server import Peer, echo, respond, scripted

MIB = 1 << 20


@pytest.fixture
async def transport() -> AsyncIterator[CurlTransport]:
    made = CurlTransport(environment={})
    yield made
    await made.close()


def streamed(*chunks: bytes, length: int | None = None) -> Body:
    """A body of these chunks, announced as what they are unless told otherwise."""

    async def read() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return Body(sum(map(len, chunks)) if length is None else length, read)


async def asked(transport: CurlTransport, request: Request) -> str:
    """Send a request to an echoing server; return what it was, head and body."""
    async with transport.send(request) as response:
        assert response.status == 200
        return (await response.read(MIB)).decode("latin-1")


# Requests


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_request_without_a_body_has_no_length(
    transport: CurlTransport, method: str
) -> None:
    async with scripted(echo) as server:
        head = await asked(transport, Request(method, f"{server.url}/v2/a?b=c%20d"))
    assert head.startswith(f"{method} /v2/a?b=c%20d HTTP/1.1\r\n")
    assert f"\r\nHost: {server.host}\r\n" in head
    assert "\r\nUser-Agent: entrepot/" in head
    for absent in ("content-length", "accept", "expect", "cookie", "content-type", "upgrade"):
        assert f"\r\n{absent}" not in head.lower()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (None, b""),
        (b"", b""),
        (b"{}", b"{}"),
        (streamed(), b""),
        (streamed(b"a", b"", b"bc"), b"abc"),
    ],
    ids=["none", "empty", "bytes", "streamed-empty", "streamed"],
)
async def test_a_write_tells_its_length(
    transport: CurlTransport, method: str, body: bytes | Body | None, sent: bytes
) -> None:
    async with scripted(echo) as server:
        text = await asked(transport, Request(method, server.url + "/x", body=body))
    head, _, echoed = text.partition("\r\n\r\n")
    assert head.startswith(f"{method} /x HTTP/1.1\r\n")
    assert f"\r\nContent-Length: {len(sent)}" in head
    assert echoed.encode() == sent
    assert "expect" not in head.lower()
    assert "content-type" not in head.lower()
    assert "transfer-encoding" not in head.lower()


async def test_a_head_request_has_no_body_to_wait_for(transport: CurlTransport) -> None:
    async def script(peer: Peer) -> None:
        while await peer.head():
            await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")

    async with scripted(script) as server:
        for _ in range(2):
            async with transport.send(Request("HEAD", server.url + "/x")) as response:
                assert response.headers["content-length"] == "12345"
                assert await response.read(10) == b""
        assert len(server.peers) == 1


async def test_header_fields_are_sent_as_given(transport: CurlTransport) -> None:
    fields = {"Accept": "a/b, c/d", "X-Empty": "", "content-type": "x/y", "Authorization": "B t"}
    async with scripted(echo) as server:
        head = await asked(transport, Request("POST", server.url, fields, b"1"))
    for line in ("Accept: a/b, c/d", "X-Empty:", "content-type: x/y", "Authorization: B t"):
        assert f"\r\n{line}\r\n" in head


@pytest.mark.parametrize(
    "fields",
    [{"A": "b\r\nEvil: 1"}, {"A": "b\nEvil: 1"}, {"A\r\nEvil": "1"}, {"A": "\0"}, {"": ""}],
)
async def test_a_header_field_cannot_smuggle_another(
    transport: CurlTransport, fields: dict[str, str]
) -> None:
    async with scripted(echo) as server:
        with pytest.raises(Unsupported, match="control character"):
            await asked(transport, Request("GET", server.url, fields))
        assert not server.peers


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1/x", "file:///etc/passwd", "/x", "http://", "http://[::1/x", "http://h:x/"],
)
async def test_only_http_urls_are_asked(transport: CurlTransport, url: str) -> None:
    with pytest.raises(Unsupported):
        await asked(transport, Request("GET", url))


async def test_credentials_in_a_url_are_refused_without_repeating_them(
    transport: CurlTransport,
) -> None:
    async with scripted(echo) as server:
        with pytest.raises(Unsupported) as caught:
            await asked(transport, Request("GET", f"http://me:secret@{server.host}/x"))
        assert not server.heads
    assert "secret" not in str(caught.value)


# Response heads


async def test_a_head_is_told_before_the_body_has_begun(transport: CurlTransport) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        await go_on.wait()
        await peer.send(b"body")

    async with (
        scripted(script) as server,
        transport.send(Request("GET", server.url)) as response,
    ):
        assert response.status == 200
        go_on.set()
        assert await response.read(4) == b"body"


async def test_header_fields_keep_their_order_and_repetitions(transport: CurlTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(
            'HTTP/1.1 401 Go Away\r\nWWW-Authenticate: Basic realm="A"\r\nX-One:1\r\n'
            'www-authenticate:  Bearer realm="B" \r\nContent-Length: 0\r\n\r\n'
        )

    async with (
        scripted(script) as server,
        transport.send(Request("GET", server.url + "/p?q")) as response,
    ):
        assert response.status == 401
        assert response.url == server.url + "/p?q"
        assert response.http_version == "1.1"
        assert response.header_lines == (
            ("www-authenticate", 'Basic realm="A"'),
            ("x-one", "1"),
            ("www-authenticate", 'Bearer realm="B"'),
            ("content-length", "0"),
        )
        assert response.headers["www-authenticate"] == 'Basic realm="A", Bearer realm="B"'


async def test_interim_heads_are_skipped(transport: CurlTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send("HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n")
        await peer.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        await peer.send(respond(b"done", status="201 Created"))

    async with (
        scripted(script) as server,
        transport.send(Request("GET", server.url)) as response,
    ):
        assert response.status == 201
        assert response.header_lines == (("content-length", "4"),)
        assert await response.read(4) == b"done"


async def test_trailers_are_no_header_fields(transport: CurlTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.send("3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n")

    async with (
        scripted(script) as server,
        transport.send(Request("GET", server.url)) as response,
    ):
        assert await response.read(3) == b"abc"
        assert "x-trailer" not in response.headers


async def test_redirects_cookies_and_encodings_are_left_to_the_caller(
    transport: CurlTransport,
) -> None:
    fields = ("Location: /other", "Set-Cookie: a=b", "Content-Encoding: gzip")

    async def script(peer: Peer) -> None:
        while await peer.head():
            await peer.send(respond(b"not gzip", status="307 Elsewhere", fields=fields))

    async with scripted(script) as server:
        for _ in range(2):
            async with transport.send(Request("GET", server.url)) as response:
                assert response.status == 307
                assert response.headers["location"] == "/other"
                assert await response.read(99) == b"not gzip"
        assert "cookie" not in "".join(server.heads).lower()
        assert len(server.heads) == 2


# Response bodies


@pytest.mark.parametrize("framing", ["length", "chunked", "closed"])
async def test_a_large_body_arrives_whole(transport: CurlTransport, framing: str) -> None:
    content = os.urandom(5 * MIB + 7)

    async def script(peer: Peer) -> None:
        await peer.head()
        if framing == "length":
            await peer.send(respond(content))
        elif framing == "chunked":
            await peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            await peer.send(f"{len(content):x}\r\n", content, "\r\n0\r\n\r\n")
        else:
            await peer.send("HTTP/1.1 200 OK\r\n\r\n", content)

    async with (
        scripted(script) as server,
        transport.send(Request("GET", server.url)) as response,
    ):
        chunks = [chunk async for chunk in response.chunks()]
    assert b"".join(chunks) == content
    assert max(map(len, chunks)) <= MIB + 64 * 1024


async def test_a_slow_reader_stops_the_sender(transport: CurlTransport) -> None:
    """What the server could send is bounded by buffers, however long the reader takes."""
    sent = 0
    block = bytes(64 * 1024)

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {64 * MIB}\r\n\r\n")
        while sent < 64 * MIB:
            await peer.send(block)
            sent += len(block)

    async with (
        scripted(script) as server,
        transport.send(Request("GET", server.url)) as response,
    ):
        before = -1
        while before != sent:  # until nothing more is taken
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 16 * MIB  # ours and the kernel's
        total = 0
        async for chunk in response.chunks():
            total += len(chunk)
        assert total == 64 * MIB


async def test_a_small_body_is_read_up_to_a_limit(transport: CurlTransport) -> None:
    async def script(peer: Peer) -> None:
        while head := await peer.head():
            if "/chunked" in head:
                await peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                await peer.send("4\r\nabcd\r\n1\r\ne\r\n0\r\n\r\n")
            else:
                await peer.send(respond(b"abcde"))

    async with scripted(script) as server:
        for path in ("/length", "/chunked"):
            async with transport.send(Request("GET", server.url + path)) as response:
                assert await response.read(5) == b"abcde"
            async with transport.send(Request("GET", server.url + path)) as response:
                with pytest.raises(SizeInvalid, match="more than the 4 bytes"):
                    await response.read(4)


# Connections


async def test_a_connection_is_used_again(transport: CurlTransport) -> None:
    async with scripted(echo) as server:
        for _ in range(5):
            await asked(transport, Request("GET", server.url))
        await asked(transport, Request("PUT", server.url, body=b"x"))
        assert len(server.peers) == 1


async def test_a_small_answer_nobody_reads_keeps_its_connection(transport: CurlTransport) -> None:
    async with scripted(echo) as server:
        for _ in range(5):
            async with transport.send(Request("GET", server.url)) as response:
                assert response.status == 200
        assert len(server.peers) == 1


async def test_requests_at_the_same_time_have_connections_of_their_own(
    transport: CurlTransport,
) -> None:
    together = asyncio.Barrier(20)

    async def script(peer: Peer) -> None:
        while head := await peer.head():
            await together.wait()
            await peer.send(respond(head.split()[1].encode()))

    async def ask(url: str, number: int) -> bool:
        return await asked(transport, Request("GET", f"{url}/{number}")) == f"/{number}"

    async with scripted(script) as server:
        assert all(await asyncio.gather(*(ask(server.url, number) for number in range(20))))


async def test_leaving_early_drops_the_rest_and_its_connection(transport: CurlTransport) -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        while head := await peer.head():
            if "/large" in head:
                await peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {1 << 40}\r\n\r\n", b"x" * 99)
                await peer.gone()
                gone.set()
                return
            await peer.send(respond(b"small"))

    async with scripted(script) as server:
        async with transport.send(Request("GET", server.url + "/large")) as response:
            async for chunk in response.chunks():
                assert chunk
                break
        await asyncio.wait_for(gone.wait(), 10)
        assert await asked(transport, Request("GET", server.url)) == "small"
        assert len(server.peers) == 2


async def test_cancelling_a_wait_gives_the_connection_up(transport: CurlTransport) -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        while head := await peer.head():
            if "/never" in head:
                arrived.set()
                await peer.gone()
                gone.set()
                return
            await peer.send(respond(b"small"))

    async with scripted(script) as server:
        waiting = asyncio.create_task(asked(transport, Request("GET", server.url + "/never")))
        await arrived.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(gone.wait(), 10)
        assert await asked(transport, Request("GET", server.url)) == "small"


async def test_cancelling_at_any_moment_spoils_nothing_for_others(
    transport: CurlTransport,
) -> None:
    chance = random.Random(3)
    sizes = {"/small": 10, "/large": 3 * MIB}

    async def script(peer: Peer) -> None:
        while head := await peer.head():
            try:
                await peer.body()
            except asyncio.IncompleteReadError:
                return
            await asyncio.sleep(chance.random() / 200)
            await peer.send(respond(bytes(sizes[head.split()[1]])))

    async def ask(url: str) -> None:
        path = chance.choice(list(sizes))
        body = streamed(bytes(MIB), bytes(MIB)) if chance.random() < 0.5 else None
        async with transport.send(Request("PUT", url + path, body=body)) as response:
            assert len(await response.read(4 * MIB)) == sizes[path]

    async with scripted(script) as server:
        for _ in range(30):
            asking = [asyncio.create_task(ask(server.url)) for _ in range(6)]
            await asyncio.sleep(chance.random() / 50)
            for task in asking[::2]:
                task.cancel()
            for outcome in await asyncio.gather(*asking, return_exceptions=True):
                assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_any_event_loop_will_do(run: Callable[[Coroutine[Any, Any, int]], int]) -> None:
    async def main() -> int:
        transport = CurlTransport(environment={})
        content = os.urandom(3 * MIB)
        async with scripted(echo) as server:
            request = Request("PUT", server.url, body=streamed(content[:MIB], content[MIB:]))
            async with transport.send(request) as response:
                assert (await response.read(4 * MIB)).endswith(content)
        await transport.close()
        return response.status

    assert run(main()) == 200


async def test_closing_ends_what_is_under_way_and_leaves_nothing() -> None:
    files = len(os.listdir("/proc/self/fd"))

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await peer.gone()

    async with scripted(script) as server:
        transport = CurlTransport(environment={})
        async with transport.send(Request("GET", server.url)) as response:
            await transport.close()
            with pytest.raises(ConnectionLost, match="its client was closed"):
                await response.read(5)
    gc.collect()  # a warning about anything left open would be an error here
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) <= files
    with pytest.raises(RuntimeError, match="closed"):
        await asked(transport, Request("GET", "http://127.0.0.1:1"))


def test_settings_do_not_show_the_proxy_s_password() -> None:
    settings = TransportSettings(proxy="http://me:secret@proxy:3128")
    assert "secret" not in repr(settings)
