"""Starting and ending: signals, transfers that are under way, addresses that are taken."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.http2_client import Http2Client
from tests.integration.conformance.content import Content, digest_of, random_blob
from tests.integration.conformance.repository import Repository
from tests.integration.conftest import StartServer
from tests.server import RunningServer
from tests.waiting import wait_until
from tests.wire import Wire, request

MIB = 1 << 20
SIZE = 16 * MIB
"""More than the sockets of both sides hold."""

workers = pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])


def push(server: RunningServer) -> Content:
    blob = random_blob(SIZE)
    with server.client() as client:
        assert Repository(client, "tests/stop").push(blob, "post only").status == 201
    return blob


def start_download(server: RunningServer, blob: Content) -> Wire:
    """Begin to read; the server cannot be done before the rest is read."""
    wire = Wire.to(server, timeout=30)
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    wire.send(request("GET", f"/v2/tests/stop/blobs/{blob.digest}"))
    assert wire.head()[0] == 200
    return wire


def start_upload(server: RunningServer, blob: Content) -> Wire:
    """Send the first half of a blob whose body the server has begun to read."""
    wire = Wire.to(server, timeout=30)
    target = f"/v2/tests/stop/blobs/uploads/?digest={blob.digest}"
    length = f"Content-Length: {len(blob.content)}"
    wire.send(request("POST", target, length, "Expect: 100-continue"))
    assert wire.response("POST").status == 100
    wire.send(blob.content[: len(blob.content) // 2])
    return wire


def begin_to_stop(server: RunningServer, number: int = signal.SIGTERM) -> None:
    """Send a signal and return when no further connection is taken."""
    server.process.send_signal(number)
    wait_until(lambda: not server.listens, seconds=4)


def exit_code(server: RunningServer, seconds: float) -> int:
    return server.process.wait(seconds)


# ── transfers under way ──────────────────────────────────────────────────────────────────────


@workers
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGINT, id="SIGINT", marks=pytest.mark.slow),
    ],
)
def test_transfers_under_way_are_finished(
    start_server: StartServer, workers: int, number: int
) -> None:
    server = start_server(workers=workers)
    stored, fresh = push(server), random_blob(MIB)
    with start_download(server, stored) as download, start_upload(server, fresh) as upload:
        begin_to_stop(server, number)
        upload.send(fresh.content[MIB // 2 :])
        pushed = upload.response("POST")
        assert (pushed.status, pushed.header("Connection")) == (201, "close")
        assert digest_of(download.read(SIZE)) == stored.digest
        assert exit_code(server, 10) == 0
    server.start()
    with server.client() as client:
        assert Repository(client, "tests/stop").get_blob(fresh.digest).body == fresh.content


@pytest.mark.slow
@workers
def test_transfers_beyond_the_limit_are_cut(start_server: StartServer, workers: int) -> None:
    server = start_server(workers=workers, settings={"server.shutdown_timeout": "1s"})
    stored, fresh = push(server), random_blob(MIB)
    with start_download(server, stored) as download, start_upload(server, fresh) as upload:
        started = time.monotonic()
        assert_stops(server, within=8)
        assert time.monotonic() - started >= 1
        assert len(download.rest()) < SIZE
        assert b"201" not in upload.rest()
    server.start()
    with server.client() as client:
        repository = Repository(client, "tests/stop")
        assert repository.head_blob(fresh.digest).status == 404
        assert repository.get_blob(stored.digest).body == stored.content


@pytest.mark.slow
def test_a_second_signal_changes_nothing(start_server: StartServer) -> None:
    server = start_server(workers=2)
    stored = push(server)
    with start_download(server, stored) as download:
        begin_to_stop(server)
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)
        assert digest_of(download.read(SIZE)) == stored.digest
        assert exit_code(server, 10) == 0


@pytest.mark.slow
@workers
def test_a_signal_to_the_whole_group_is_orderly(start_server: StartServer, workers: int) -> None:
    """A terminal's Ctrl-C and some service managers signal every process."""
    server = start_server(workers=workers)
    stored = push(server)
    with start_download(server, stored) as download:
        for pid in {server.process.pid, *server.workers}:
            server.signal(pid, signal.SIGINT)
        wait_until(lambda: not server.listens, seconds=4)
        assert digest_of(download.read(SIZE)) == stored.digest
        assert exit_code(server, 10) == 0
    assert "worker died" not in server.log()


def test_http_2_streams_are_finished_too(start_server: StartServer) -> None:
    server = start_server(workers=2)
    stored = push(server)
    with Http2Client.to(server, timeout=30) as client:
        stream = client.start("GET", f"/v2/tests/stop/blobs/{stored.digest}")
        client.take(read=False)
        begin_to_stop(server)
        client.h2.acknowledge_received_data(client.unread, stream)
        client.flush()
        assert digest_of(client.response(stream).body) == stored.digest
        assert client.goodbye is not None
        assert exit_code(server, 10) == 0


# ── connections that wait ────────────────────────────────────────────────────────────────────


@workers
def test_idle_connections_do_not_delay_the_end(start_server: StartServer, workers: int) -> None:
    server = start_server(workers=workers)
    with Wire.to(server) as used, Wire.to(server) as unused, Http2Client.to(server) as http2:
        assert used.get("/v2/").status == 200
        assert http2.request("GET", "/v2/").status == 200
        assert_stops(server, within=3)
        assert used.rest() == unused.rest() == b""
        http2.until_closed()
        assert http2.goodbye is not None


@pytest.mark.slow
def test_a_request_that_has_only_begun_does_not_delay_the_end(start_server: StartServer) -> None:
    server = start_server()
    with Wire.to(server) as wire:
        wire.send(b"GET /v2/ HTTP/1.1\r\nHost:")
        with server.client() as client:
            client.get("/v2/")
        assert_stops(server, within=3)


@pytest.mark.slow
@workers
def test_a_stopping_server_says_goodbye_on_kept_connections(
    start_server: StartServer, workers: int
) -> None:
    """What was sent before the signal is answered, with `Connection: close`."""
    server = start_server(workers=workers)
    fresh = random_blob(MIB)
    with start_upload(server, fresh) as upload:
        upload.send(fresh.content[MIB // 2 : -1])
        begin_to_stop(server)
        upload.send(fresh.content[-1:] + request("GET", "/v2/"))
        assert upload.response("POST").header("Connection") == "close"
        assert upload.rest() == b""  # the next request is not answered, so it can be sent again
        assert exit_code(server, 10) == 0


# ── addresses ────────────────────────────────────────────────────────────────────────────────


def run_to_its_end(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `entrepot serve` where it cannot start."""
    command = [RunningServer.program(), "serve", "--data", str(folder / "other"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)


@workers
def test_an_address_that_is_taken(start_server: StartServer, tmp_path: Path, workers: int) -> None:
    server = start_server(workers=workers)
    done = run_to_its_end(tmp_path, "--listen", server.host)
    assert done.returncode == 1
    assert f"cannot listen on {server.host}" in done.stderr
    assert "another program" in done.stderr
    assert "Traceback" not in done.stderr
    with server.client() as client:
        for _ in range(10):
            assert client.get("/v2/").status == 200


@pytest.mark.parametrize(
    "address",
    [
        "nonsense",
        "192.0.2.1:0",
        *(
            pytest.param(address, marks=pytest.mark.slow)
            for address in ("127.0.0.1:port", "127.0.0.1:70000", "unix:/nowhere/at/all")
        ),
    ],
)
def test_an_address_that_cannot_be(tmp_path: Path, address: str) -> None:
    done = run_to_its_end(tmp_path, "--listen", address)
    assert done.returncode in (1, 64)
    assert "error:" in done.stderr
    assert address.removeprefix("unix:") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@workers
def test_a_unix_socket_is_served_and_removed(
    start_server: StartServer, tmp_path: Path, workers: int
) -> None:
    path = tmp_path / "socket"
    server = start_server(workers=workers, listen=[f"unix:{path}"])
    blob = push(server)
    with Wire.to_unix(path) as wire:
        assert wire.get(f"/v2/tests/stop/blobs/{blob.digest}").body == blob.content
        assert wire.get("/v2/").status == 200
    assert path.stat().st_mode & 0o777 == 0o660
    assert server.stop() == 0
    assert not path.exists()


def test_a_unix_socket_that_a_crash_left_is_replaced(
    start_server: StartServer, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    server = start_server(listen=[f"unix:{path}"])
    server.kill()
    assert path.is_socket()
    server.start()
    with Wire.to_unix(path) as wire:
        assert wire.get("/v2/").status == 200


@pytest.mark.slow
def test_a_unix_socket_in_use_is_not_taken_away(start_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    start_server(listen=[f"unix:{path}"])
    done = run_to_its_end(tmp_path, "--listen", f"unix:{path}")
    assert done.returncode == 1
    assert str(path) in done.stderr
    with Wire.to_unix(path) as wire:
        assert wire.get("/v2/").status == 200


@pytest.mark.slow
def test_a_file_in_the_place_of_a_unix_socket_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_text("precious")
    done = run_to_its_end(tmp_path, "--listen", f"unix:{path}")
    assert done.returncode == 1
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder.write_text("a file"),
        lambda folder: (folder.mkdir(), (folder / "metadata.db").write_text("no database" * 99)),
        lambda folder: (folder.mkdir(), (folder / "blobs").write_text("a file")),
    ],
    ids=["a file", "no database", "a file for blobs"],
)
def test_a_data_directory_that_cannot_be_used(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "other")
    done = run_to_its_end(tmp_path, "--listen", "127.0.0.1:0")
    assert done.returncode == 1
    assert str(tmp_path / "other") in done.stderr
    assert "Traceback" not in done.stderr


def assert_stops(server: RunningServer, *, within: float) -> None:
    """It ends with exit code 0 in so many seconds after SIGTERM."""
    server.process.send_signal(signal.SIGTERM)
    assert exit_code(server, within) == 0
