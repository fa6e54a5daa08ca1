"""Large bodies: byte for byte whatever the range, in constant memory, however slow the client."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.integration.conformance.content import Content, digest_of, random_blob
from tests.integration.conformance.repository import AS_OCTETS, Repository
from tests.integration.conftest import StartServer
from tests.processes import open_files, own_memory
from tests.server import RunningServer
from tests.waiting import wait_until
from tests.wire import Wire, request

MIB = 1 << 20
SIZE = 24 * MIB + 12_345


@pytest.fixture(scope="module")
def repository(server: RunningServer) -> Iterator[Repository]:
    with server.client() as client:
        yield Repository(client, "tests/transfers")


@pytest.fixture(scope="module")
def large(repository: Repository) -> Content:
    blob = random_blob(SIZE)
    assert repository.push(blob, "post+put").status == 201
    return blob


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (0, 0),
        (0, SIZE - 1),
        (SIZE - 1, SIZE - 1),
        (1, 2 * MIB),
        (2 * MIB - 1, 2 * MIB + 1),
        (12_345, SIZE - 54_321),
        (64 * 1024, 64 * 1024 + 4095),
    ],
)
def test_every_range_of_a_large_file_is_exact(
    repository: Repository, large: Content, first: int, last: int
) -> None:
    field = {"Range": f"bytes={first}-{last}"}
    response = repository.get_blob(large.digest, field)
    assert response.status == 206
    assert response.header("Content-Range") == f"bytes {first}-{last}/{SIZE}"
    assert response.body == large.content[first : last + 1]


def test_large_files_share_a_connection_with_small_answers(
    server: RunningServer, repository: Repository, large: Content
) -> None:
    """Nothing of one leaks into the other, pipelined as they are."""
    target = repository.blob(large.digest)
    with Wire.to(server) as wire:
        for _ in range(3):
            wire.send(request("GET", "/v2/") + request("GET", target, "Range: bytes=5-7000000"))
            wire.send(request("HEAD", target) + request("GET", target))
        for _ in range(3):
            assert wire.response().json() == {}
            assert wire.response().body == large.content[5:7_000_001]
            assert wire.response("HEAD").header("Content-Length") == str(SIZE)
            assert digest_of(wire.response().body) == large.digest


def test_many_ranges_of_a_large_file_come_in_one_body(
    repository: Repository, large: Content
) -> None:
    response = repository.get_blob(large.digest, {"Range": "bytes=0-9,9000000-9999999,-10"})
    assert response.status == 206
    boundary = (response.header("Content-Type") or "").partition("boundary=")[2].encode()
    parts = response.body.split(b"--" + boundary)[1:-1]
    found = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]
    assert found == [large.content[:10], large.content[9_000_000:10_000_000], large.content[-10:]]


@pytest.mark.slow
def test_clients_that_leave_in_the_middle_cost_nothing(
    server: RunningServer, repository: Repository, large: Content
) -> None:
    """Neither descriptors nor connections are left behind, whichever side was sending."""
    before = open_files(server.workers)
    ingests = server.data / "ingests"
    others = set(ingests.iterdir())  # other tests leave uploads open on this server
    for _ in range(20):
        with Wire.to(server) as wire:
            wire.send(request("GET", repository.blob(large.digest)))
            wire.read(100_000)
        with Wire.to(server) as wire:
            target = repository.path("blobs", "uploads", "") + f"?digest={large.digest}"
            wire.send(request("POST", target, f"Content-Length: {SIZE}") + large.content[:MIB])
    # Files that a worker opens once and keeps are no leak; forty connections would be.
    wait_until(lambda: open_files(server.workers) < before + 10)
    assert repository.get_blob(large.digest).body == large.content
    # An upload in one request cannot be continued, so nothing of it is kept either.
    wait_until(lambda: set(ingests.iterdir()) <= others)


# ── memory ───────────────────────────────────────────────────────────────────────────────────

READERS = 50
HUGE = 200 * MIB
READING_SECONDS = 6.0
ALLOWED = 50 * MIB


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose memory only these tests touch."""
    server = RunningServer(tmp_path_factory.mktemp("alone"), workers=1)
    yield server
    assert server.stop() == 0


def _push_huge(server: RunningServer, name: str) -> str:
    """Push 200 MiB that this process never holds; return their digest."""
    block = random_blob(MIB).content
    hasher = hashlib.sha256()
    for _ in range(HUGE // MIB):
        hasher.update(block)
    digest = f"sha256:{hasher.hexdigest()}"
    with server.client(timeout=120) as client:
        target = f"/v2/{name}/blobs/uploads/?digest={digest}"
        response = client.post(target, (block for _ in range(HUGE // MIB)), AS_OCTETS)
    assert response.status == 201, response
    return digest


@pytest.mark.slow
def test_memory_does_not_grow_with_uploads(alone: RunningServer) -> None:
    """Twelve clients push 40 MiB each at once."""
    blobs = [random_blob(40 * MIB) for _ in range(12)]
    with alone.client() as client:
        assert Repository(client, "tests/warm").push(random_blob(100)).status == 201
    before, highest = own_memory(alone.workers), 0
    threads = [threading.Thread(target=_push, args=(alone, blob)) for blob in blobs]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        highest = max(highest, own_memory(alone.workers))
        time.sleep(0.01)
    assert highest - before < 80 * MIB  # 12 x (1 MiB received, 3 MiB on their way to the disk)
    with alone.client() as client:
        for blob in blobs:
            head = Repository(client, "tests/memory").head_blob(blob.digest)
            assert head.header("Content-Length") == str(len(blob.content))


def _push(server: RunningServer, blob: Content) -> None:
    with server.client(timeout=120) as client:
        assert Repository(client, "tests/memory").push(blob, "post only").status == 201


@pytest.mark.slow
def test_memory_does_not_grow_with_slow_readers(alone: RunningServer) -> None:
    """Fifty clients read 200 MiB each, at a tenth of a megabyte per second."""
    digest = _push_huge(alone, "tests/slow")
    before, highest = own_memory(alone.workers), 0
    connections = [_slow_connection(alone) for _ in range(READERS)]
    for sock in connections:
        sock.sendall(request("GET", f"/v2/tests/slow/blobs/{digest}"))
    received = [0] * READERS
    end = time.monotonic() + READING_SECONDS
    while time.monotonic() < end:
        for number, sock in enumerate(connections):
            received[number] += len(sock.recv(4096))
        highest = max(highest, own_memory(alone.workers))
        with alone.client(timeout=5) as client:  # and everyone else is served meanwhile
            assert client.get("/v2/").status == 200
        time.sleep(0.01)
    for sock in connections:
        sock.close()
    assert min(received) > 100_000
    assert highest - before < ALLOWED


def _slow_connection(server: RunningServer) -> socket.socket:
    host, _, port = server.host.partition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    sock.settimeout(10)
    sock.connect((host, int(port)))
    return sock


@pytest.mark.slow
@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(b"X: " + b"y" * 1000 + b"\r\n", id="many headers"),
        pytest.param(b"y" * 1000, id="one header", marks=pytest.mark.slow),
    ],
)
def test_memory_does_not_grow_behind_a_request_in_progress(
    start_server: StartServer, endless: bytes
) -> None:
    """While one answer is on its way slowly, a second request's header never ends."""
    server = start_server()
    blob = random_blob(16 * MIB)
    with server.client() as client:
        assert Repository(client, "tests/behind").push(blob, "post only").status == 201
    before = own_memory(server.workers)
    with Wire.to(server) as wire:
        wire.send(request("GET", f"/v2/tests/behind/blobs/{blob.digest}"))
        assert wire.head()[0] == 200
        wire.send(b"GET /v2/ HTTP/1.1\r\nHost: a\r\nY: ")
        _send_as_far_as_it_is_read(wire, endless * 1000)
        assert own_memory(server.workers) - before < 16 * MIB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (b"3\r\nabc\r\n0\r\n", b"X: " + b"y" * 1000 + b"\r\n"),
        (b"3\r\nabc\r\n0\r\nX: ", b"y" * 1000),
        (b"3;a=", b"y" * 1000),
        (b"3;", b"a=b;" * 250),
        (b"", b"0" * 1000),
    ],
    ids=["trailers", "one trailer", "one extension", "extensions", "zeros of a chunk's size"],
)
def test_memory_does_not_grow_with_what_surrounds_chunks(
    start_server: StartServer, start: bytes, endless: bytes
) -> None:
    """A chunked body may have trailers and extensions; nobody keeps them, however long."""
    server = start_server()
    before = own_memory(server.workers)
    with Wire.to(server) as wire:
        target = f"/v2/tests/behind/blobs/uploads/?digest={digest_of(b'abc')}"
        wire.send(request("POST", target, "Transfer-Encoding: chunked") + start)
        _send_as_far_as_it_is_read(wire, endless * 1000)
        assert own_memory(server.workers) - before < 16 * MIB


def _send_as_far_as_it_is_read(wire: Wire, data: bytes) -> None:
    """Send 32 MB, or less if the server reads no more or hangs up."""
    wire.sock.settimeout(1)
    with suppress(TimeoutError, ConnectionError):
        for _ in range(32_000_000 // len(data)):
            wire.sock.sendall(data)
