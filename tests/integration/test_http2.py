"""HTTP/2: by prior knowledge, many requests at once, flow control in both directions."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http2_client import Http2Client
from tests.integration.conformance.content import Content, digest_of, random_blob
from tests.integration.conformance.expectations import assert_refused
from tests.integration.conformance.repository import AS_OCTETS, Repository
from tests.integration.conftest import StartServer
from tests.processes import open_files, own_memory
from tests.programs import require_program
from tests.server import RunningServer
from tests.waiting import wait_until
from tests.wire import Wire

MIB = 1 << 20


@pytest.fixture
def http2(server: RunningServer) -> Iterator[Http2Client]:
    with Http2Client.to(server) as client:
        yield client


@pytest.fixture(scope="module")
def large(server: RunningServer) -> Content:
    blob = random_blob(12 * MIB + 7)
    with server.client() as client:
        assert Repository(client, "tests/http2").push(blob).status == 201
    return blob


def blob_path(blob: Content) -> str:
    return f"/v2/tests/http2/blobs/{blob.digest}"


def test_requests_follow_each_other(http2: Http2Client) -> None:
    for _ in range(3):
        response = http2.request("GET", "/v2/")
        assert (response.status, response.json()) == (200, {})
        assert response.header("x-request-id")
        assert response.header("connection") is None


def test_the_authority_is_the_host(http2: Http2Client, server: RunningServer) -> None:
    """RFC 9113, 8.3.1: pages, challenges and routes go by it as by the Host of HTTP/1.1."""
    shown = http2.request("GET", "/_/commands?image=team/app:1.0")
    assert (shown.status, shown.body.decode()) == (200, f"docker pull {server.host}/team/app:1.0\n")


def test_a_whole_push_and_pull(http2: Http2Client) -> None:
    blob = random_blob(3 * MIB)
    started = http2.request("POST", "/v2/tests/http2/blobs/uploads/")
    location = started.header("location") or ""
    first = http2.request("PATCH", location, blob.content[:MIB], AS_OCTETS)
    assert (first.status, first.header("range")) == (202, f"0-{MIB - 1}")
    target = f"{location}?digest={blob.digest}"
    assert http2.request("PUT", target, blob.content[MIB:], AS_OCTETS).status == 201
    assert http2.request("GET", blob_path(blob)).body == blob.content


def test_a_hundred_requests_at_once(http2: Http2Client, large: Content) -> None:
    """Large and small answers share the connection; the small ones do not wait for the large."""
    slow = http2.start("GET", blob_path(large))
    streams = {n: http2.start("GET", f"/v2/nothing/{n}/here") for n in range(100)}
    for n, stream in streams.items():
        message = assert_refused(http2.response(stream), 404, "NOT_FOUND")["message"]
        assert f"nothing/{n}/here" in message
    assert digest_of(http2.response(slow).body) == large.digest


def test_head_ranges_and_conditions(http2: Http2Client, large: Content) -> None:
    head = http2.request("HEAD", blob_path(large))
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") == str(len(large.content))
    part = http2.request("GET", blob_path(large), headers={"range": "bytes=5-3000000"})
    assert (part.status, part.body) == (206, large.content[5:3_000_001])
    tag = head.header("etag") or ""
    unchanged = http2.request("GET", blob_path(large), headers={"if-none-match": tag})
    assert (unchanged.status, unchanged.body) == (304, b"")


def test_a_refusal_comes_before_the_body_was_sent(http2: Http2Client) -> None:
    """And the client is told not to go on sending, the connection being fit for more."""
    stream = http2.start("PUT", "/v2/tests/http2/blobs/uploads/unknown?digest=x", end=False)
    http2.h2.send_data(stream, b"x" * 1000)
    http2.flush()
    assert_refused(http2.response(stream), (400, 404), "DIGEST_INVALID")
    assert http2.request("GET", "/v2/").status == 200


def test_a_body_that_is_refused_does_not_close_the_window(http2: Http2Client) -> None:
    """What nobody reads counts as read, or the connection's window would shut for good."""
    for _ in range(24):
        stream = http2.start("PUT", "/v2/tests/http2/blobs/uploads/unknown?digest=x", end=False)
        http2.send(stream, bytes(MIB))
        assert http2.response(stream).status == 400
    blob = random_blob(4 * MIB)
    target = f"/v2/tests/http2/blobs/uploads/?digest={blob.digest}"
    assert http2.request("POST", target, blob.content, AS_OCTETS).status == 201


def test_a_window_that_stays_shut_holds_nobody_else_up(
    http2: Http2Client, server: RunningServer, large: Content
) -> None:
    """A client that does not read is not sent more than its window, and others go on."""
    stream = http2.start("GET", blob_path(large))
    http2.take(read=False)
    with server.client() as other:
        assert other.get(blob_path(large)).body == large.content
    while http2.unread < 65_535:
        http2.take(read=False)
    http2.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        http2.take(read=False)
    assert http2.unread == 65_535
    http2.sock.settimeout(10)
    http2.h2.acknowledge_received_data(http2.unread, stream)
    http2.flush()
    assert digest_of(http2.response(stream).body) == large.digest


def test_clients_that_leave_or_reset_cost_nothing(server: RunningServer, large: Content) -> None:
    before = open_files(server.workers)
    for _ in range(10):
        with Http2Client.to(server) as client:
            downloads = [client.start("GET", blob_path(large)) for _ in range(5)]
            upload = client.start(
                "POST", "/v2/tests/http2/blobs/uploads/?digest=" + large.digest, end=False
            )
            client.h2.send_data(upload, b"x" * 1000)
            client.take()
            for stream in (downloads[0], upload):
                client.h2.reset_stream(stream)
            client.flush()
    wait_until(lambda: open_files(server.workers) <= before)
    with Http2Client.to(server) as client:
        assert digest_of(client.request("GET", blob_path(large)).body) == large.digest


@pytest.mark.slow
def test_prior_knowledge_can_be_switched_off(start_server: StartServer) -> None:
    server = start_server(settings={"server.http2": "false"})
    with Wire.to(server) as wire:
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert wire.response().status in (400, 501, 505)
        assert wire.rest() == b""


@pytest.mark.slow
def test_memory_does_not_grow_with_slow_streams(start_server: StartServer) -> None:
    """Fifty downloads on five connections whose client hardly reads."""
    server = start_server()
    blob = random_blob(64 * MIB)
    with server.client() as client:
        assert Repository(client, "tests/http2").push(blob).status == 201
        before = own_memory(server.workers)
        connections = [Http2Client.to(server) for _ in range(5)]
        for connection in connections:
            connection.h2.increment_flow_control_window(1 << 30)
            for _ in range(10):
                stream = connection.start("GET", blob_path(blob))
                connection.h2.increment_flow_control_window(1 << 30, stream)
            connection.flush()
        for connection in connections:
            connection.take()
        for _ in range(20):
            assert client.get(blob_path(blob), {"Range": "bytes=0-99"}).status == 206
        assert own_memory(server.workers) - before < 50 * MIB
        for connection in connections:
            connection.sock.close()


@pytest.mark.real("curl")
def test_curl_agrees(server: RunningServer, large: Content, tmp_path: Path) -> None:
    file = tmp_path / "blob"
    command = [str(require_program("curl")), "--silent", "--show-error", "--fail"]
    command += ["--http2-prior-knowledge", "--write-out", "%{http_version}"]
    command += ["--output", str(file), server.url + blob_path(large)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2", "")
    assert digest_of(file.read_bytes()) == large.digest
