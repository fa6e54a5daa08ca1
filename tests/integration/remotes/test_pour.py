"""Bodies poured into a sink: in one thread, whole or up to where they broke, and no further."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from entrepot.adapters.remotes.exchange import Request
from entrepot.adapters.remotes.transport import CurlTransport
from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.adapters.remotes.transport_threads import MOST
from entrepot.oci.errors import ConnectionLost, StoreFull
from tests.certificates import make_certificate
from tests.integration.remotes.egress_proxies import squid
from tests.integration.remotes.scripted_server import Peer, ScriptedServer, respond, scripted
from tests.integration.remotes.test_transport_tls import server_context
from tests.waiting import wait_until

MIB = 1 << 20
CONTENT = os.urandom(5 * MIB + 7)
ANNOUNCED = f"HTTP/1.1 200 OK\r\nContent-Length: {len(CONTENT)}\r\n\r\n"


class Basin:
    """A sink that keeps what it is given, and who gave it. After `room` bytes it is full."""

    def __init__(self, room: int = 1 << 40) -> None:
        self.content = bytearray()
        self.pieces: list[int] = []
        self.threads: set[int] = set()
        self.room = room

    def __call__(self, piece: memoryview) -> None:
        if len(self.content) + len(piece) > self.room:
            raise StoreFull("there is no space left; free some")
        self.content += piece
        self.pieces.append(len(piece))
        self.threads.add(threading.get_ident())


@pytest.fixture
async def transport() -> AsyncIterator[CurlTransport]:
    made = CurlTransport(environment={})
    yield made
    await made.close()


def bulk(server: ScriptedServer) -> Request:
    return Request("GET", f"{server.url}/blob", bulk=True)


async def whole(peer: Peer) -> None:
    while await peer.head():
        await peer.send(respond(CONTENT))


async def poured(transport: CurlTransport, server: ScriptedServer) -> bytes:
    basin = Basin()
    async with transport.send(bulk(server)) as response:
        await response.pour(basin)
    return bytes(basin.content)


async def until(basin: Basin, length: int) -> None:
    """Wait until the sink has so many bytes."""
    await asyncio.to_thread(wait_until, lambda: len(basin.content) >= length)


@pytest.mark.parametrize("framing", ["length", "chunked", "closed"])
async def test_a_large_body_arrives_whole(transport: CurlTransport, framing: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        if framing == "length":
            await peer.send(respond(CONTENT))
        elif framing == "chunked":
            await peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            await peer.send(f"{len(CONTENT):x}\r\n", CONTENT, "\r\n0\r\n\r\n")
        else:
            await peer.send("HTTP/1.1 200 OK\r\n\r\n", CONTENT)

    basin = Basin()
    async with scripted(script) as server, transport.send(bulk(server)) as response:
        await response.pour(basin)
    assert bytes(basin.content) == CONTENT
    assert max(basin.pieces) == MIB
    assert len(basin.threads) == 1
    assert threading.get_ident() not in basin.threads


@pytest.mark.parametrize("waits", [0, 0.2])
async def test_what_arrived_before_is_poured_too(transport: CurlTransport, waits: float) -> None:
    basin = Basin()
    async with scripted(whole) as server, transport.send(bulk(server)) as response:
        await asyncio.sleep(waits)  # long enough for the buffers to fill, or not
        await response.pour(basin)
    assert bytes(basin.content) == CONTENT


@pytest.mark.parametrize("as_bulk", [True, False])
async def test_a_small_body_is_poured(transport: CurlTransport, as_bulk: bool) -> None:
    async def script(peer: Peer) -> None:
        while await peer.head():
            await peer.send(respond(b"small"))

    async with scripted(script) as server:
        for pause in (0, 0.05):
            basin = Basin()
            async with transport.send(Request("GET", server.url, bulk=as_bulk)) as response:
                await asyncio.sleep(pause)
                await response.pour(basin)
            assert bytes(basin.content) == b"small"
        assert len(server.peers) == 1


async def test_connections_are_used_again(transport: CurlTransport) -> None:
    async with scripted(whole) as server:
        for _ in range(3):
            assert await poured(transport, server) == CONTENT
        assert len(server.peers) == 1
        await asyncio.gather(*(poured(transport, server) for _ in range(4)))
        await asyncio.gather(*(poured(transport, server) for _ in range(4)))
        assert len(server.peers) == 4
        assert [head.split()[1] for head in server.heads] == ["/blob"] * 11


async def test_more_can_be_poured_at_a_time_than_threads_work(transport: CurlTransport) -> None:
    """Also while some of them wait for their server: only who has work takes a turn."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        slow = "/slow" in await peer.head()
        await peer.send(ANNOUNCED, CONTENT[:MIB])
        if slow:
            await go_on.wait()
        await peer.send(CONTENT[MIB:])

    async def pour(url: str) -> bytes:
        basin = Basin()
        async with transport.send(Request("GET", url, bulk=True)) as response:
            await response.pour(basin)
        return bytes(basin.content)

    async with scripted(script) as server:
        slow = asyncio.gather(*(pour(f"{server.url}/slow") for _ in range(20)))
        assert await asyncio.gather(*(pour(server.url) for _ in range(20))) == [CONTENT] * 20
        go_on.set()
        assert await slow == [CONTENT] * 20


@pytest.mark.parametrize("drip", [0.0, 0.02, 1.5], ids=["silent", "dripping", "now and then"])
async def test_any_number_of_slow_transfers_keep_nobody_waiting(
    transport: CurlTransport, drip: float
) -> None:
    """There are many more of them than threads; each gets what comes for it all the same."""
    go_on = asyncio.Event()
    most = MOST * 3 // 2

    async def script(peer: Peer) -> None:
        slow = "/slow" in await peer.head()
        await peer.send(ANNOUNCED, CONTENT[:1000])
        sent = 1000
        while slow and not go_on.is_set():
            if drip:
                await peer.send(CONTENT[sent : sent + 10])
                sent += 10
            with suppress(TimeoutError):
                async with asyncio.timeout(drip or None):
                    await go_on.wait()
        await peer.send(CONTENT[sent:])

    async def pour(url: str, basin: Basin) -> bytes:
        async with transport.send(Request("GET", url, bulk=True, eager=True)) as response:
            await response.pour(basin)
        return bytes(basin.content)

    async with scripted(script) as server:
        basins = [Basin() for _ in range(most)]
        slow = asyncio.gather(*(pour(f"{server.url}/slow", one) for one in basins))
        async with asyncio.timeout(20):
            for basin in basins:
                await until(basin, 1000)
        async with asyncio.timeout(5):
            assert await pour(server.url, Basin()) == CONTENT
        go_on.set()
        assert await slow == [CONTENT] * most


async def test_who_finds_no_thread_free_is_told_after_the_time_of_a_stall() -> None:
    """All of them wait for a disk that has gone; nobody waits for ever with them."""
    back, begun = threading.Event(), set[int]()

    def stuck(_piece: memoryview) -> None:
        begun.add(threading.get_ident())
        back.wait()

    async def pour(sink: Callable[[memoryview], None]) -> None:
        async with made.send(bulk(server)) as response:
            await response.pour(sink)

    made = CurlTransport(IMPATIENT, {})
    async with scripted(whole) as server:
        pouring = [asyncio.create_task(pour(stuck)) for _ in range(MOST)]
        try:
            await asyncio.to_thread(wait_until, lambda: len(begun) == MOST)
            async with asyncio.timeout(5):
                with pytest.raises(ConnectionLost, match="all threads here were busy"):
                    await pour(Basin())
        finally:
            back.set()
            await asyncio.wait(pouring)
            await made.close()


async def test_a_transfer_without_a_thread_stalls_is_cancelled_and_closed_like_any() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(ANNOUNCED, CONTENT[:MIB])
        await peer.gone()

    async def pour(basin: Basin) -> None:
        async with made.send(bulk(server)) as response:
            await response.pour(basin)

    made = CurlTransport(TransportSettings(stall_timeout=3), {})
    async with scripted(script) as server:
        basins = [Basin() for _ in range(2)]
        stalling, cancelled = (asyncio.create_task(pour(basin)) for basin in basins)
        for basin in basins:
            await until(basin, MIB)
        await asyncio.sleep(1.5)  # the threads have been given back
        assert "_serve" not in {frame.f_code.co_name for frame in sys._current_frames().values()}
        cancelled.cancel()
        async with asyncio.timeout(0.2):
            await asyncio.wait([cancelled])
        assert cancelled.cancelled()
        with pytest.raises(ConnectionLost, match="stood still"):
            await stalling
        closing = asyncio.create_task(pour(basins[0]))
        await until(basins[0], 2 * MIB)
        await asyncio.sleep(1.5)
        await made.close()
        async with asyncio.timeout(0.2):
            with pytest.raises(ConnectionLost, match="given up"):
                await closing


async def test_what_came_before_the_end_is_poured_first(transport: CurlTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(ANNOUNCED, CONTENT[: 3 * MIB + 5])

    basin = Basin()
    async with scripted(script) as server:
        with pytest.raises(ConnectionLost, match="before the length"):
            async with transport.send(bulk(server)) as response:
                await response.pour(basin)
        assert bytes(basin.content) == CONTENT[: 3 * MIB + 5]


async def test_what_the_sink_raises_is_raised_and_ends_the_transfer(
    transport: CurlTransport,
) -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(ANNOUNCED, CONTENT[: 4 * MIB])
        await peer.gone()
        gone.set()

    basin = Basin(room=2 * MIB)
    async with scripted(script) as server:
        with pytest.raises(StoreFull):
            async with transport.send(bulk(server)) as response:
                await response.pour(basin)
        async with asyncio.timeout(5):
            await gone.wait()
    assert bytes(basin.content) == CONTENT[: 2 * MIB]


@pytest.mark.parametrize("flows", [True, False])
async def test_a_cancelled_pour_ends_within_a_second_and_keeps_what_has_come(
    transport: CurlTransport, flows: bool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {1 << 40}\r\n\r\n", CONTENT)
        while flows:
            await peer.send(CONTENT)
        await peer.gone()

    basin = Basin()

    async def pour() -> None:
        async with transport.send(bulk(server)) as response:
            await response.pour(basin)

    async with scripted(script) as server:
        task = asyncio.create_task(pour())
        await until(basin, 3 * MIB)
        task.cancel()
        async with asyncio.timeout(1):
            with pytest.raises(asyncio.CancelledError):
                await task
        size = len(basin.content)
        assert (CONTENT * (size // len(CONTENT) + 1)).startswith(basin.content)
        await asyncio.sleep(0.1)
        assert len(basin.content) == size  # nobody writes to what may be closed now


async def test_slow_bytes_are_not_held_back_for_long(transport: CurlTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(ANNOUNCED)
        while True:
            await peer.send(b"x" * 100)
            await asyncio.sleep(0.02)

    basin = Basin()

    async def pour() -> None:
        async with transport.send(bulk(server)) as response:
            await response.pour(basin)

    async with scripted(script) as server:
        task = asyncio.create_task(pour())
        async with asyncio.timeout(5):
            await until(basin, 1000)
        task.cancel()
        await asyncio.wait([task])


async def test_closing_ends_a_pour() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(ANNOUNCED, CONTENT[: 2 * MIB])
        await peer.gone()

    made, basin = CurlTransport(environment={}), Basin()

    async def pour() -> None:
        async with made.send(bulk(server)) as response:
            await response.pour(basin)

    async with scripted(script) as server:
        task = asyncio.create_task(pour())
        await until(basin, MIB)
        await made.close()
        with pytest.raises(ConnectionLost, match="given up"):
            await task


IMPATIENT = TransportSettings(stall_timeout=0.3)


async def test_a_server_that_stands_still_is_lost_and_a_slow_sink_is_not() -> None:
    async def script(peer: Peer) -> None:
        while head := await peer.head():
            if "/stuck" in head:
                await peer.send(ANNOUNCED, CONTENT[:MIB])
                await peer.gone()
            else:
                await peer.send(respond(CONTENT))

    class Slow(Basin):
        def __call__(self, piece: memoryview) -> None:
            super().__call__(piece)
            if len(self.pieces) == 1:
                threading.Event().wait(0.8)

    made = CurlTransport(IMPATIENT, {})
    try:
        async with scripted(script) as server:
            slow = Slow()
            async with made.send(bulk(server)) as response:
                await response.pour(slow)
            assert bytes(slow.content) == CONTENT
            stuck = Basin()
            with pytest.raises(ConnectionLost, match="stood still"):
                async with made.send(Request("GET", f"{server.url}/stuck", bulk=True)) as response:
                    await response.pour(stuck)
            assert bytes(stuck.content) == CONTENT[:MIB]
    finally:
        await made.close()


@pytest.mark.real("openssl", "squid")
@pytest.mark.parametrize("proxied", [False, True])
async def test_it_works_over_tls_and_through_a_proxy(tmp_path: Path, proxied: bool) -> None:
    certificate = make_certificate(tmp_path)
    with squid(certificate=certificate) if proxied else nullcontext() as proxy:
        url = f"http://{proxy.host}" if proxy else None
        made = CurlTransport(TransportSettings(ca_file=certificate.certificate, proxy=url), {})
        async with scripted(whole, tls=server_context(certificate)) as server:
            for _ in range(2):
                assert await poured(made, server) == CONTENT
            assert len(server.peers) == 1
            await made.close()
