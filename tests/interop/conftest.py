"""The server, the images and the clients that the interop tests share."""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from tests.certificates import Certificate, make_certificate
from tests.docker_registry import RunningDockerRegistry, RunningZot
from tests.interop import clients, images
from tests.interop.daemons import DoesNotStart
from tests.interop.docker_daemon import DockerDaemon
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.servers import stop
from tests.programs import NOT_RUN, require_program
from tests.server import RunningServer

_numbers = count(1)
_USERS: Final = "ann:$2b$05$8Xkb731NxHOk71ZEEyO25e6LaMr7Hy/RLNVHjRtIDRK21j4crT1gG\n"


@pytest.fixture(scope="session")
def new_folder() -> Iterator[Callable[[str], Path]]:
    """Make folders that are removed in the end.

    pytest's own would keep the images of three runs, and their paths are too long for the
    sockets that dockerd and podman make in them. Podman takes a layout's path for an image's name,
    so it must be one, which not all of what `mkdtemp` makes up is.
    """
    made: list[Path] = []

    def make(name: str) -> Path:
        folder = Path(tempfile.gettempdir(), f"{name}-{secrets.token_hex(4)}")
        folder.mkdir(mode=0o700)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(new_folder: Callable[[str], Path]) -> Iterator[RunningServer]:
    """One server with two workers and default settings, shared by all tests."""
    server = RunningServer(new_folder("server"), workers=2)
    yield server
    stop(server)


@pytest.fixture(scope="session")
def certificate(new_folder: Callable[[str], Path]) -> Certificate:
    """The certificate of `tls_server`, which signs itself."""
    return make_certificate(new_folder("certificate"))


@pytest.fixture(scope="session")
def tls_server(
    new_folder: Callable[[str], Path], certificate: Certificate
) -> Iterator[RunningServer]:
    """A server with two workers that takes TLS only."""
    server = RunningServer(
        new_folder("tls"), workers=2, settings=certificate.settings(), tls=certificate.client()
    )
    yield server
    stop(server)


@pytest.fixture(scope="session")
def docker_registry(new_folder: Callable[[str], Path]) -> Iterator[RunningDockerRegistry]:
    """docker-registry, for everybody."""
    registry = RunningDockerRegistry(new_folder("docker-registry"))
    yield registry
    registry.kill()


@pytest.fixture(scope="session")
def guarded(new_folder: Callable[[str], Path]) -> Iterator[RunningDockerRegistry]:
    """docker-registry with a password file that knows ann, whose password is wonderland."""
    registry = RunningDockerRegistry(new_folder("guarded"), users=_USERS)
    yield registry
    registry.kill()


@pytest.fixture(scope="session")
def zot(new_folder: Callable[[str], Path]) -> Iterator[RunningZot]:
    """zot, for everybody."""
    registry = RunningZot(new_folder("zot"))
    yield registry
    registry.kill()


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
def docker_host(new_folder: Callable[[str], Path]) -> Iterator[str]:
    """The address of a Docker daemon of our own."""
    clients.require_root("dockerd")
    try:
        daemon = DockerDaemon(new_folder("docker"))
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
