"""Bytes that are nearly HTTP, or not at all: whatever comes in, the server stays, and the next
request is answered."""

import re
import socket
import struct
from collections.abc import Iterator
from enum import Enum, auto
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.requests import fuzz
from tests.fuzz.rules import assert_confined
from tests.integration.conformance.content import digest_of
from tests.server import RunningServer
from tests.waiting import wait_until
from tests.wire import Wire, request

IMPATIENT = {
    "server.header_timeout": "1s",
    "server.idle_timeout": "1s",
    "server.body_timeout": "1s",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("wire"), workers=2, settings=IMPATIENT)
    before = server.workers
    yield server
    assert server.workers == before, "a worker has died"
    assert server.stop() == 0
    log = server.log()
    assert "Traceback" not in log, log[log.find("Traceback") - 1000 :][:5000]
    assert '"status":500' not in log
    assert_confined(server.data)


class End(Enum):
    """What the client does when it has sent what it had to send."""

    WAIT = auto()
    HALF_CLOSE = auto()
    CLOSE = auto()
    RESET = auto()


BLOB = b"content of the blob"
PUSH = f"/v2/fuzz/blobs/uploads/?digest={digest_of(BLOB)}"
SOUND = [
    request("GET", "/v2/"),
    request("GET", "/v2/fuzz/tags/list?n=3"),
    request("HEAD", "/v2/fuzz/manifests/latest", "Accept: */*"),
    request("POST", "/v2/fuzz/blobs/uploads/", "Content-Length: 0"),
    request("POST", PUSH, body=BLOB),
    request("POST", PUSH, "Transfer-Encoding: chunked")
    + b"13\r\n" + BLOB + b"\r\n0\r\n\r\n",
    request("PUT", "/v2/fuzz/manifests/latest", "Content-Type: application/json", body=b"{}"),
    request("PATCH", "/v2/fuzz/blobs/uploads/none", "Content-Range: 0-2", body=b"abc"),
    request("GET", f"/v2/fuzz/blobs/{digest_of(BLOB)}", "Range: bytes=3-7"),
    request("GET", "/v2/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
]  # fmt: skip

_PIECES = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\t", b"\x0b", b"\xff", b"0\r\n\r\n", b"\r\n\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: -1\r\n",
    b"Content-Length: 18446744073709551616\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding : chunked\r\n",
    b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Upgrade: websocket\r\n",
    b"Host: again\r\n", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/0.9", b"GET ", b"ffffffffffffffff",
    b"GET http://[::1/v2/ HTTP/1.1\r\n", b"X: " + b"y" * 70_000 + b"\r\n",
]  # fmt: skip


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A few sound requests in one go, with some bytes taken out, put in or turned round."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(SOUND), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            del data[at : at + draw(st.integers(1, 30))]
        elif kind == 1:
            data[at:at] = draw(st.sampled_from(_PIECES))
        elif kind == 2:
            data[at:at] = draw(st.binary(max_size=10))
        elif at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return the data in pieces, as they may arrive."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


def talk(server: RunningServer, pieces: list[bytes], end: End) -> bytes:
    """Send pieces on a connection of their own; return what came back."""
    with Wire.to(server, timeout=10) as wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            wire.send(piece)
        if end is End.CLOSE:
            return b""
        if end is End.RESET:
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return b""
        if end is End.HALF_CLOSE:
            wire.finish()
        return wire.rest()


def assert_still_serving(server: RunningServer) -> None:
    for _ in range(2):  # most likely both workers
        with server.client(timeout=10) as client:
            assert client.get("/v2/").status == 200


STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [A-Za-z ]+\r\n")


def assert_no_error_of_ours(answer: bytes) -> None:
    """Every status that came is 2xx or 4xx, or says what this server does not do."""
    for status in STATUS.findall(answer):
        assert status[:1] in b"124" or status in (b"501", b"505"), answer[:2000]
    assert b"Traceback" not in answer


ends = st.sampled_from([End.HALF_CLOSE, End.HALF_CLOSE, End.HALF_CLOSE, End.CLOSE, End.RESET])


@fuzz
@given(data=spoiled(), places=st.lists(st.integers(0, 10_000), max_size=4), end=ends)
@example(data=SOUND[0] + b"\0", places=[], end=End.HALF_CLOSE)
def test_spoiled_requests(server: RunningServer, data: bytes, places: list[int], end: End) -> None:
    assert_no_error_of_ours(talk(server, cut(data, places), end))
    assert_still_serving(server)


@fuzz
@given(data=st.binary(max_size=2000), end=ends)
def test_any_bytes(server: RunningServer, data: bytes, end: End) -> None:
    assert_no_error_of_ours(talk(server, [data], end))
    assert_still_serving(server)


@pytest.mark.parametrize("whole", SOUND, ids=range(len(SOUND)))
def test_a_connection_may_end_after_every_byte(server: RunningServer, whole: bytes) -> None:
    for length in range(0, len(whole) + 1, 7):
        for end in (End.HALF_CLOSE, End.CLOSE, End.RESET):
            assert_no_error_of_ours(talk(server, [whole[:length]], end))
    assert_still_serving(server)


def test_unfinished_connections_are_all_ended(server: RunningServer) -> None:
    """A hundred connections that each stop somewhere are gone soon after their limits."""
    pieces = [(whole * 2)[: 5 * number % len(whole)] for number, whole in enumerate(SOUND * 10)]
    wires = [Wire.to(server, timeout=10) for _ in pieces]
    for wire, piece in zip(wires, pieces, strict=True):
        wire.send(piece)
    assert_still_serving(server)
    for wire in wires:
        assert_no_error_of_ours(wire.rest())
        wire.close()


def test_a_hidden_request_is_never_answered(server: RunningServer) -> None:
    """However lengths are told apart wrongly, what is inside a body is no request."""
    hidden = request("DELETE", "/v2/fuzz/manifests/smuggled")
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
    for framing, body in [
        ((f"Content-Length: {len(hidden)}",), hidden),
        (("Transfer-Encoding: chunked",), chunked),
        ((f"Content-Length: {len(chunked)}", "Transfer-Encoding: chunked"), chunked),
        (("Transfer-Encoding: chunked", f"Content-Length: {len(chunked)}"), chunked),
        (("Transfer-Encoding: chunked, identity",), chunked),
        (("Transfer-Encoding: xchunked",), chunked),
        (("Transfer-Encoding: \x0bchunked",), chunked),
        (("Transfer-Encoding:chunked", "Transfer-Encoding: identity"), chunked),
        (("Content-Length: 0", f"Content-Length: {len(hidden)}"), hidden),
        ((f"Content-Length: {len(hidden)}, {len(hidden)}",), hidden),
        ((f"Content-Length: +{len(hidden)}",), hidden),
        ((f"Content-Length: 0x{len(hidden):x}",), hidden),
    ]:
        for method, target in [("GET", "/v2/"), ("POST", "/v2/fuzz/blobs/uploads/")]:
            talk(server, [request(method, target, *framing) + body], End.HALF_CLOSE)
    with server.client() as client:  # whose line comes after all of those
        last = client.get("/v2/").header("X-Request-Id") or "?"
    wait_until(lambda: last in server.log())
    assert "smuggled" not in server.log()
