"""Servers and clients for the tests that run against real processes."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.http_client import Client
from tests.server import RunningServer

_numbers = count(1)

StartServer = Callable[..., RunningServer]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server with two workers and default settings, shared by all tests."""
    yield from run_server(tmp_path_factory.mktemp("server"), workers=2)


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    """A connection of its own to the shared server, so to any of its workers."""
    with server.client() as client:
        yield client


@pytest.fixture
def name() -> str:
    """The name of a repository that no other test uses."""
    return f"tests/repository-{next(_numbers)}"


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers of the test's own, as `RunningServer` takes arguments; they are stopped."""
    running: list[RunningServer] = []

    def start(**arguments: Any) -> RunningServer:
        folder = tmp_path / f"server-{len(running)}"
        running.append(RunningServer(folder, **arguments))
        return running[-1]

    yield start
    for one in running:
        one.kill()
        one.print_log()
        assert_no_traceback(one)


def run_server(folder: Path, **arguments: Any) -> Iterator[RunningServer]:
    """Run a server for as long as a fixture lasts, and see it end well."""
    server = RunningServer(folder, **arguments)
    yield server
    assert server.stop() == 0
    assert_no_traceback(server)


def assert_no_traceback(server: RunningServer) -> None:
    """Whatever was asked of the server, it never met an error that nobody had thought of."""
    log = server.log()
    found = log.find("Traceback")
    assert found < 0, log[max(found - 1000, 0) : found + 4000]
