"""The long line of the benchmarks: as slow as it is said to be, and counted."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from bench.harness.exchange import Connection, MeasurementFailed
from bench.harness.shaped_relay import ShapedRelay

ROUND_TRIP = 0.04
RATE = 20_000_000
LARGE = 4_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    """A server that answers every request at once with as many bytes as its path says."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(client: socket.socket) -> None:
        # Where the line is cut, this end breaks off, too.
        with suppress(ConnectionError), client, client.makefile("rb") as lines:
            while line := lines.readline():
                if line.startswith(b"GET "):
                    size = int(line.split()[1][1:])
                elif line == b"\r\n":
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                    client.sendall(bytes(size))

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def relay(server: tuple[str, int]) -> Iterator[ShapedRelay]:
    with ShapedRelay(server, 2, round_trip=ROUND_TRIP, rate=RATE) as running:
        yield running


def seconds(connection: Connection, size: int) -> float:
    begun = time.monotonic()
    assert connection.ask("GET", f"/{size}").length == size
    return time.monotonic() - begun


def test_a_request_takes_a_round_trip_and_a_new_connection_one_more(relay: ShapedRelay) -> None:
    begun = time.monotonic()
    connection = Connection(relay.addresses[0])
    try:
        seconds(connection, 1)
        assert time.monotonic() - begun >= 1.95 * ROUND_TRIP
        fastest = min(seconds(connection, 1) for _ in range(5))
        assert 0.95 * ROUND_TRIP <= fastest < 1.5 * ROUND_TRIP
    finally:
        connection.close()


def test_all_connections_of_a_line_share_its_bandwidth(relay: ShapedRelay) -> None:
    connections = [Connection(relay.addresses[0]) for _ in range(2)]
    threads = [threading.Thread(target=seconds, args=(one, LARGE)) for one in connections]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    assert took >= 0.9 * 2 * LARGE / RATE
    for one in connections:
        one.close()


def test_the_delay_does_not_bound_the_bandwidth(relay: ShapedRelay) -> None:
    connection = Connection(relay.addresses[0])
    seconds(connection, 1)
    # One block per round trip would be a tenth of it.
    assert min(seconds(connection, LARGE) for _ in range(3)) < 2 * (ROUND_TRIP + LARGE / RATE)
    connection.close()


def test_requests_bytes_and_connections_are_counted_by_line(relay: ShapedRelay) -> None:
    before = relay.count(0)
    connection = Connection(relay.addresses[0])
    for _ in range(3):
        seconds(connection, 1000)
    connection.close()
    passed = relay.count(0).since(before)
    assert (passed.requests, passed.connections) == (3, 1)
    assert 3000 < passed.received < 3300
    assert relay.count(1).requests == 0


def test_a_line_that_is_cut_breaks_off_and_stays_dead(relay: ShapedRelay) -> None:
    cut, whole = relay.addresses[0], relay.addresses[1]
    with closing(Connection(cut)) as connection, closing(Connection(whole)) as other:
        seconds(connection, 1)
        relay.cut(0)
        with pytest.raises((OSError, MeasurementFailed)):
            seconds(connection, 1)
        # It may end before anything is asked.
        with pytest.raises((OSError, MeasurementFailed)), closing(Connection(cut)) as fresh:
            seconds(fresh, 1)
        seconds(other, 1)
