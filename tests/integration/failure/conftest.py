"""Images to move, registries to move them between, and the program that does it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.harness import layered_image
from entrepot.testing.mock_registry import MockRegistry
from tests.docker_registry import RunningDockerRegistry
from tests.integration.cli.program import Program
from tests.integration.failure.cut_transfers import TAG
from tests.server import RunningServer

LAYERS = {"one layer": (1, 60), "twelve layers": (12, 14), "thirty layers": (30, 2)}
"""How many layers of how many MiB."""


@pytest.fixture
def entrepot(tmp_path: Path) -> Program:
    """The program, in an empty folder."""
    (tmp_path / "home").mkdir()
    return Program(tmp_path / "home")


@pytest.fixture
def mock() -> Iterator[MockRegistry]:
    """A registry in this process, empty but for what a test adds."""
    with MockRegistry() as registry:
        yield registry


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of an image of at least 60 MiB, by a key of `LAYERS`."""
    made: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp("image") / "layout"
            layers, mib = LAYERS[kind]
            layered_image.make(made[kind], layers=layers, layer_mib=mib, tag=TAG)
        return made[kind]

    return find


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[RunningServer]:
    """Our server, empty, which a test may kill and start again."""
    server = RunningServer(tmp_path / "ours")
    yield server
    server.kill()
    assert "Traceback" not in server.log()


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[RunningDockerRegistry]:
    """docker-registry, empty, which a test may kill and start again."""
    server = RunningDockerRegistry(tmp_path / "theirs")
    yield server
    server.kill()
