"""The server, the images and the clients that the interop tests share."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.interop import clients, images
from tests.interop.docker_daemon import DockerDaemon, DoesNotStart
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.tls import TLSServer, make_certificates
from tests.programs import NOT_RUN, require_program
from tests.server import RunningServer

_numbers = count(1)


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Make folders that are removed in the end: pytest would keep the images of three runs."""
    made: list[Path] = []

    def make(name: str) -> Path:
        made.append(tmp_path_factory.mktemp(name))
        return made[-1]

    yield make
    for folder in made:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(new_folder: Callable[[str], Path]) -> Iterator[RunningServer]:
    """One server with two workers and default settings, shared by all tests."""
    server = RunningServer(new_folder("server"), workers=2)
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log(), server.log()


@pytest.fixture(scope="session")
def tls_server(
    new_folder: Callable[[str], Path], new_sandbox: Callable[[], Sandbox]
) -> Iterator[TLSServer]:
    """A server with two workers that takes TLS only."""
    require_program("openssl")
    server = TLSServer(new_folder("tls"), make_certificates(new_sandbox()))
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log(), server.log()


@pytest.fixture(scope="session")
def new_repository(server: RunningServer) -> Callable[[], str]:
    """Name repositories that no other test uses, as `host:port/name`."""
    return lambda: f"{server.host}/tests/interop-{next(_numbers)}"


@pytest.fixture
def repository(new_repository: Callable[[], str]) -> str:
    """A repository that no other test uses, as `host:port/name`."""
    return new_repository()


@pytest.fixture(scope="session")
def new_sandbox(new_folder: Callable[[str], Path]) -> Callable[[], Sandbox]:
    """Make sandboxes: each is a machine that has never pulled anything."""
    return lambda: Sandbox(new_folder("sandbox"))


@pytest.fixture
def sandbox(new_sandbox: Callable[[], Sandbox]) -> Sandbox:
    """A machine that has never pulled anything."""
    return new_sandbox()


@pytest.fixture(scope="session")
def busybox(new_folder: Callable[[str], Path]) -> Layout:
    """The layout of an image that runs: busybox-static and a greeting, in two layers."""
    program = require_program("busybox")
    return images.busybox(new_folder("busybox") / "layout", program)


@pytest.fixture(scope="session")
def multi_platform(new_folder: Callable[[str], Path]) -> Layout:
    """The layout of an index over two platforms."""
    program = require_program("busybox")
    return images.multi_platform(new_folder("platforms") / "layout", program)


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """The address of a Docker daemon of our own."""
    clients.require_root("dockerd")
    with tempfile.TemporaryDirectory(prefix="docker-") as folder:  # its path is short
        try:
            daemon = DockerDaemon(Path(folder))
        except DoesNotStart as reason:
            pytest.skip(f"{NOT_RUN}dockerd does not start here: {reason}")
        yield daemon.address
        daemon.stop()


@pytest.fixture(scope="session")
def new_client(
    request: pytest.FixtureRequest, new_sandbox: Callable[[], Sandbox]
) -> Callable[[str], clients.Client]:
    """Make the client of a name, in a sandbox of its own."""

    def make(name: str) -> clients.Client:
        require_program(name)
        sandbox = new_sandbox()
        if name in clients.LAYOUT_CLIENTS:
            return clients.LAYOUT_CLIENTS[name](sandbox)
        clients.require_root(name)
        if name == "docker":
            sandbox.environment["DOCKER_HOST"] = request.getfixturevalue("docker_host")
        return clients.STORAGE_CLIENTS[name](sandbox)

    return make
