"""What a client may cost: time limits, and more clients than there is room for."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.http_client import Response
from tests.integration.conformance.content import random_blob
from tests.integration.conformance.expectations import assert_refused
from tests.integration.conformance.repository import Repository
from tests.integration.conftest import StartServer
from tests.processes import open_files
from tests.server import RunningServer
from tests.waiting import wait_until
from tests.wire import Wire, request

QUICK = {
    "server.header_timeout": "1s",
    "server.idle_timeout": "2s",
    "server.body_timeout": "1s",
}


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose limits are as short as they may be."""
    server = RunningServer(tmp_path_factory.mktemp("impatient"), settings=QUICK)
    yield server
    assert server.stop() == 0


def test_a_header_that_does_not_come_is_408(impatient: RunningServer) -> None:
    """However slowly the bytes drip: it is the whole header that has a limit."""
    with Wire.to(impatient) as wire:
        wire.send(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n")
        assert_refused(wire.response(), 408, "TIMEOUT")
        assert wire.rest() == b""


@pytest.mark.slow
def test_a_connection_that_says_nothing_is_closed(impatient: RunningServer) -> None:
    with Wire.to(impatient) as wire:
        assert wire.rest() == b""
    with Wire.to(impatient) as wire:
        assert wire.get("/v2/").status == 200
        assert wire.rest() == b""


def test_a_stalled_upload_is_408_and_can_go_on(impatient: RunningServer) -> None:
    blob = random_blob(1000)
    with impatient.client() as client, Wire.to(impatient) as wire:
        repository = Repository(client, "tests/stalled")
        location = repository.start_upload()
        wire.send(request("PATCH", location, "Content-Length: 1000") + blob.content[:600])
        assert_refused(wire.response("PATCH"), 408, "TIMEOUT")
        client.close()  # its connection was idle as long
        assert client.get(location).header("Range") == "0-599"
        rest = repository.put_chunk(location, blob.content[600:], 600)
        assert repository.close_upload(_location(rest), blob.digest).status == 201


def test_a_client_that_asks_and_never_reads_is_cut(impatient: RunningServer) -> None:
    """Small answers too take no place for ever when nobody takes them."""
    before = open_files(impatient.workers)
    with Wire.to(impatient) as wire:
        wire.sock.settimeout(0.5)
        with suppress(TimeoutError, ConnectionError):
            for _ in range(1000):
                wire.sock.sendall(request("GET", "/v2/nothing/" + "x" * 2000) * 10)
        wait_until(lambda: open_files(impatient.workers) <= before, seconds=8)


def test_a_stalled_download_is_cut(impatient: RunningServer) -> None:
    blob = random_blob(32 << 20)
    with impatient.client() as client, Wire.to(impatient) as wire:
        repository = Repository(client, "tests/stalled")
        assert repository.push(blob, "post only").status == 201
        wire.send(request("GET", repository.blob(blob.digest)))
        assert wire.head()[0] == 200
        wait_until(lambda: f'GET","target":"{repository.blob(blob.digest)}' in impatient.log())
        assert len(wire.rest()) < len(blob.content)


# ── more clients than there is room for ──────────────────────────────────────────────────────


@pytest.mark.slow
def test_more_connections_than_are_allowed_are_told_so(start_server: StartServer) -> None:
    server = start_server(settings={"server.max_connections": "5"})
    with ExitStack() as stack:
        first = [stack.enter_context(Wire.to(server)) for _ in range(5)]
        for wire in first:
            assert wire.get("/v2/").status == 200
        with Wire.to(server) as refused:
            assert_refused(refused.response(), 503, "UNAVAILABLE")
        for wire in first:
            assert wire.get("/v2/").status == 200
    with server.client() as client:
        wait_until(lambda: client.get("/v2/").status == 200)


@pytest.mark.slow
def test_a_server_without_descriptors_comes_back(start_server: StartServer) -> None:
    """It can accept no connection and open no file; then it can again."""
    server = start_server()
    blob = random_blob(200_000)
    with server.client() as client, ExitStack() as stack:
        repository = Repository(client, "tests/descriptors")
        assert repository.push(blob, "post only").status == 201
        (worker,) = server.workers
        limit = open_files([worker]) + 4
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (limit, limit))
        for _ in range(20):
            stack.enter_context(Wire.to(server))
        wait_until(lambda: open_files([worker]) == limit)
        for _ in range(3):
            answer = repository.get_blob(blob.digest)
            assert_refused(answer, 503, "UNAVAILABLE")
            client.close() if answer.header("Connection") == "close" else None
        stack.close()
        wait_until(lambda: open_files([worker]) < limit - 3)
        assert repository.get_blob(blob.digest).body == blob.content


def _location(response: Response) -> str:
    assert response.status == 202, response
    return response.header("Location") or ""
