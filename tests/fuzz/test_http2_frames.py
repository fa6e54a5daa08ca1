"""HTTP/2 frame by frame: floods, stalls, bombs and nonsense. The server ends what it must and
serves everyone else."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.requests import fuzz
from tests.http2_client import Http2Client
from tests.integration.conformance.content import Content, random_blob
from tests.integration.conformance.repository import Repository
from tests.integration.conftest import StartServer
from tests.processes import open_files, own_memory
from tests.server import RunningServer
from tests.waiting import wait_until
from tests.wire import Wire

MIB = 1 << 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
IMPATIENT = {
    "server.header_timeout": "1s",
    "server.idle_timeout": "2s",
    "server.body_timeout": "1s",
}
DATA, HEADERS, RESET, SETTINGS, PUSH, PING, GOODBYE, WINDOW, CONTINUATION = (
    0,
    1,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
)
END_STREAM, END_HEADERS = 1, 4
GET = Encoder().encode(
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/v2/")]
)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame, right or wrong."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


START = PREFACE + frame(SETTINGS, 0, 0)


@pytest.fixture
def server(impatient: RunningServer) -> Iterator[RunningServer]:
    """The server; after each test it still serves, in the same process."""
    before = impatient.workers
    yield impatient
    assert impatient.workers == before
    with Http2Client.to(impatient) as client:
        assert client.request("GET", "/v2/").status == 200


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("frames"), settings=IMPATIENT)
    yield server
    assert server.stop() == 0
    log = server.log()
    assert "Traceback" not in log, log[log.find("Traceback") - 1000 :][:5000]


@pytest.fixture(scope="module")
def blob(impatient: RunningServer) -> Content:
    blob = random_blob(8 * MIB)
    with impatient.client() as client:
        assert Repository(client, "frames/blobs").push(blob).status == 201
    return blob


def goodbye(received: bytes) -> ErrorCodes | None:
    """Return the error code of the GOAWAY in what was received."""
    while len(received) >= 9:
        length = int.from_bytes(received[:3], "big")
        if received[3] == GOODBYE:
            return ErrorCodes(int.from_bytes(received[13:17], "big"))
        received = received[9 + length :]
    return None


# ── floods ───────────────────────────────────────────────────────────────────────────────────


def test_a_rapid_reset_ends_the_connection(server: RunningServer, blob: Content) -> None:
    """CVE-2023-44487: streams opened and reset faster than they can be handled."""
    with Http2Client.to(server) as client, suppress(ConnectionError, BrokenPipeError):
        for _ in range(5000):
            stream = client.start("GET", f"/v2/frames/blobs/blobs/{blob.digest}")
            client.h2.reset_stream(stream)
        client.until_closed()
        assert client.goodbye is not None
        assert client.goodbye.error_code == ErrorCodes.ENHANCE_YOUR_CALM


def test_resets_that_the_client_provokes_end_the_connection(
    server: RunningServer, blob: Content
) -> None:
    """CVE-2025-8671: the same, with mistakes that make the server reset."""
    before = own_memory(server.workers)
    path = f"/v2/frames/blobs/blobs/{blob.digest}"
    encoder = Encoder()
    with Wire.to(server) as wire:
        wire.send(START)
        for number in range(20_000):
            stream = 2 * number + 1
            fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)]
            head = frame(HEADERS, END_STREAM | END_HEADERS, stream, encoder.encode(fields))
            wire.send(head + frame(WINDOW, 0, stream, bytes(4)))
        wire.rest()
    assert own_memory(server.workers) - before < 32 * MIB


def test_more_streams_than_are_allowed(server: RunningServer) -> None:
    with Wire.to(server) as wire:
        heads = [frame(HEADERS, END_HEADERS, 2 * n + 1, GET) for n in range(400)]
        wire.send(START + b"".join(heads))
        assert goodbye(wire.rest()) is not None


LOTS = 24 * MIB
"""More than all buffers of both kernels hold."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "one",
    [
        frame(PING, 0, 0, bytes(8)),
        frame(SETTINGS, 0, 0),
        frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_536)),
    ],
    ids=["PING", "empty SETTINGS", "SETTINGS"],
)
def test_floods_whose_answers_nobody_reads(start_server: StartServer, one: bytes) -> None:
    """The server takes no more than it can answer: what is to be answered does not pile up."""
    server = start_server()
    before = own_memory(server.workers)
    with narrow_wire(server) as wire:
        wire.send(START)
        assert send_while_it_is_taken(wire, one * (MIB // len(one))) < LOTS
        assert own_memory(server.workers) - before < 16 * MIB
        with server.client() as other:
            assert other.get("/v2/").status == 200


@pytest.mark.parametrize(
    "one",
    [
        frame(WINDOW, 0, 0, struct.pack(">I", 1)),
        frame(2, 0, 3, bytes(5)),
        frame(0xF0, 0, 0, bytes(16)),
    ],
    ids=["WINDOW_UPDATE", "PRIORITY", "an unknown type"],
)
def test_floods_that_call_for_no_answer(server: RunningServer, one: bytes) -> None:
    with Wire.to(server) as wire:
        wire.send(START + one * (2 * MIB // len(one)))
        with server.client() as other:
            assert other.get("/v2/").status == 200


def narrow_wire(server: RunningServer) -> Wire:
    """Connect with little room for what the server sends, so that it soon has to wait."""
    host, _, port = server.host.partition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sock.connect((host, int(port)))
    return Wire(sock)


def send_while_it_is_taken(wire: Wire, data: bytes) -> int:
    """Send again and again, until nothing is taken for two seconds, the connection is cut, or
    `LOTS` were sent; return how many bytes were."""
    view, sent = memoryview(data), 0
    wire.sock.settimeout(2)
    with suppress(TimeoutError, ConnectionError):
        while sent < LOTS:
            sent += wire.sock.send(view[sent % len(data) :][:65_536])
    return sent


def test_a_connection_whose_answers_nobody_reads_is_cut(server: RunningServer) -> None:
    before = open_files(server.workers)
    with narrow_wire(server) as wire:
        wire.send(START)
        send_while_it_is_taken(wire, frame(PING, 0, 0, bytes(8)) * (MIB // 17))
        wait_until(lambda: open_files(server.workers) <= before)


@pytest.mark.parametrize("kind", ["DATA", "padded DATA", "CONTINUATION"])
def test_floods_of_empty_frames(server: RunningServer, kind: str) -> None:
    before = own_memory(server.workers)
    flags = 0 if kind == "CONTINUATION" else END_HEADERS
    post = Encoder().encode(
        [
            (":method", "POST"), (":scheme", "http"), (":authority", "a"),
            (":path", f"/v2/frames/blobs/uploads/?digest=sha256:{'0' * 64}"),
        ]
    )  # fmt: skip
    one = {
        "DATA": frame(DATA, 0, 1),
        "padded DATA": frame(DATA, 8, 1, b"\xff" + bytes(255)),
        "CONTINUATION": frame(CONTINUATION, 0, 1),
    }[kind]
    with Wire.to(server) as wire:
        wire.sock.settimeout(2)
        with suppress(TimeoutError, ConnectionError):
            wire.sock.sendall(START + frame(HEADERS, flags, 1, post))
            for _ in range(4):
                wire.sock.sendall(one * (MIB // len(one)))
        assert own_memory(server.workers) - before < 16 * MIB
        with server.client() as other:
            assert other.get("/v2/").status == 200


# ── headers ──────────────────────────────────────────────────────────────────────────────────


def header_block(size: int) -> bytes:
    return GET + Encoder().encode([(f"x-{n}", "y" * 1000) for n in range(size // 1000)])


def test_a_header_beyond_the_limit_is_refused(server: RunningServer) -> None:
    block = header_block(300_000)
    parts = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
    with Wire.to(server) as wire:
        wire.send(START + frame(HEADERS, END_STREAM, 1, parts[0]))
        for part in parts[1:-1]:
            wire.send(frame(CONTINUATION, 0, 1, part))
        wire.send(frame(CONTINUATION, END_HEADERS, 1, parts[-1]))
        assert goodbye(wire.rest()) is not None


def test_a_header_that_unfolds_to_much_more_is_refused(server: RunningServer) -> None:
    """An HPACK bomb: one long value, referred to thousands of times."""
    before = own_memory(server.workers)
    encoder = Encoder()
    encoder.header_table_size = 4096
    block = GET + encoder.encode([("x-bomb", "y" * 3900)])
    block += encoder.encode([("x-bomb", "y" * 3900)]) * 16_000
    with Wire.to(server) as wire:
        wire.send(START + frame(HEADERS, END_STREAM | END_HEADERS, 1, block[:16_384]))
        assert goodbye(wire.rest()) is not None
    assert own_memory(server.workers) - before < 16 * MIB


def test_a_header_that_never_ends_is_cut(server: RunningServer) -> None:
    before = own_memory(server.workers)
    with Wire.to(server) as wire:
        wire.sock.settimeout(4)
        with suppress(ConnectionError):
            wire.sock.sendall(START + frame(HEADERS, END_STREAM, 1, GET))
            for _ in range(2000):
                wire.sock.sendall(
                    frame(CONTINUATION, 0, 1, b"\x00\x01a\x7f\x81\x7f" + b"y" * 16_000)
                )
        assert own_memory(server.workers) - before < 16 * MIB


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(":method", "GET")],
        [(":method", "GET"), (":scheme", "http"), (":path", "")],
        [(":method", "GET"), (":method", "PUT"), (":scheme", "http"), (":path", "/v2/")],
        [(":status", "200")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/v2/"), ("Upper", "x")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/v2/"), ("connection", "close")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/v2/"), ("transfer-encoding", "x")],
        [(":method", "GET"), (":scheme", "http"), ("a", "b"), (":path", "/v2/")],
        [(":method", "CONNECT"), (":authority", "a:443")],
        [(":method", "G T"), (":scheme", "http"), (":authority", "a"), (":path", "/v2/")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "*")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/v2/\0")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/v2/\r\nX: y")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/v2/"), ("content-length", "x")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/v2/"), ("content-length", "5")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/v2/"), ("x", "a\nb")],
    ],
    ids=str,
)
def test_malformed_requests(server: RunningServer, fields: list[tuple[str, str]]) -> None:
    """Each is refused in some way; none is answered with what it asked for, or with a fault."""
    with Wire.to(server) as wire:
        head = frame(HEADERS, END_STREAM | END_HEADERS, 1, Encoder().encode(fields))
        wire.send(START + head)
        wire.finish()
        assert b"registry/2.0" not in wire.rest()


# ── stalls ───────────────────────────────────────────────────────────────────────────────────


def test_a_connection_that_only_says_hello_is_closed(server: RunningServer) -> None:
    with Wire.to(server) as wire:
        wire.send(START)
        wire.rest()


def test_half_a_preface_is_cut(server: RunningServer) -> None:
    with Wire.to(server) as wire:
        wire.send(PREFACE[:10])
        wire.rest()


def test_windows_that_stay_shut_are_cut(server: RunningServer, blob: Content) -> None:
    """A client that asks for much and reads nothing does not hold streams for ever."""
    with Http2Client.to(server) as client:
        client.h2.update_settings({4: 0})  # the window of every stream: nothing
        client.flush()
        for _ in range(20):
            client.start("GET", f"/v2/frames/blobs/blobs/{blob.digest}")
        client.until_closed()


def test_a_client_that_keeps_the_line_busy_but_reads_nothing_is_cut(
    server: RunningServer, blob: Content
) -> None:
    """Pings are no progress of the transfer."""
    with Http2Client.to(server) as client:
        client.h2.update_settings({4: 0})
        client.flush()
        stream = client.start("GET", f"/v2/frames/blobs/blobs/{blob.digest}")
        client.sock.settimeout(0.2)

        def ended() -> bool:
            try:
                client.h2.ping(bytes(8))
                client.flush()
                client.take()
            except TimeoutError:
                return False
            except ConnectionError:
                return True
            return stream in client.resets

        wait_until(ended, seconds=8)


def test_a_stalled_upload_is_cut_and_the_connection_goes_on(server: RunningServer) -> None:
    with Http2Client.to(server) as client:
        location = client.request("POST", "/v2/frames/stalled/blobs/uploads/").header("location")
        stream = client.start("PATCH", location or "", {"content-length": "10"}, end=False)
        client.h2.send_data(stream, b"half")
        client.flush()
        with suppress(ConnectionError):
            assert client.response(stream).status == 408
    with server.client() as other:
        assert other.get(location or "").header("Range") == "0-3"


# ── nonsense ─────────────────────────────────────────────────────────────────────────────────

_kinds = st.integers(0, 12) | st.integers(0, 255)
_payloads = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([GET, bytes(4), bytes(8), struct.pack(">I", 0x7FFFFFFF), bytes(16_385)]),
    st.builds(lambda key, value: struct.pack(">HI", key, value), st.integers(0, 9),
              st.integers(0, 2**32 - 1)),
)  # fmt: skip
frames = st.builds(frame, _kinds, st.integers(0, 255), st.integers(0, 7), _payloads)


@fuzz
@given(parts=st.lists(frames, max_size=8), tail=st.binary(max_size=20), preface=st.booleans())
def test_any_frames(
    server_for_fuzzing: RunningServer, parts: list[bytes], tail: bytes, preface: bool
) -> None:
    with Wire.to(server_for_fuzzing) as wire:
        wire.send((START if preface else PREFACE) + b"".join(parts) + tail)
        wire.finish()
        wire.rest()
    with Http2Client.to(server_for_fuzzing) as client:
        assert client.request("GET", "/v2/").status == 200


@pytest.fixture(scope="module")
def server_for_fuzzing(impatient: RunningServer) -> RunningServer:
    return impatient


def test_a_goodbye_is_returned(server: RunningServer) -> None:
    with Http2Client.to(server) as client:
        client.request("GET", "/v2/")
        client.h2.close_connection()
        client.flush()
        with suppress(ProtocolError):
            client.until_closed()
