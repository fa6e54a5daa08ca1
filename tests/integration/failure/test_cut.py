"""A transfer that is cut at 60 % and run again sends at most 45 % of the bytes, and in between
nothing looks whole that is not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docker_registry import RunningDockerRegistry
from tests.integration.cli.program import Program
from tests.integration.failure.conftest import LAYERS
from tests.integration.failure.cut_transfers import CUTS, TAG, Cut, copying, pulling, pushing
from tests.server import RunningServer

MOST = 0.45


@pytest.fixture(scope="module")
def source(
    layout: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server with the images, which tests may kill and start again."""
    server = RunningServer(tmp_path_factory.mktemp("source"))
    entrepot = Program(tmp_path_factory.mktemp("pusher"))
    for kind in ("one layer", "twelve layers"):
        folder = layout(kind)
        entrepot("push", f"oci:{folder}:{TAG}", f"{server.host}/{folder.parent.name}:{TAG}")
    yield server
    server.kill()
    assert "Traceback" not in server.log()


def cases(*chosen: tuple[str, str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Try these ways to be cut with these images; the first is also in the quick lane."""
    return pytest.mark.parametrize(
        ("cut", "kind"),
        [
            pytest.param(*case, marks=pytest.mark.slow if number else ())
            for number, case in enumerate(chosen)
        ],
    )


EVERY_CUT = [(cut, "one layer") for cut in CUTS]
SEVERAL_LAYERS = [("network dropped", "twelve layers"), ("client killed", "twelve layers")]


@cases(*EVERY_CUT, *SEVERAL_LAYERS)
def test_push(
    entrepot: Program,
    ours: RunningServer,
    layout: Callable[[str], Path],
    cut: Cut,
    kind: str,
) -> None:
    with pushing(layout(kind), ours) as transfer:
        transfer.cut(entrepot, cut, ours)
        assert transfer.again(entrepot) <= MOST


@pytest.mark.slow
def test_push_of_many_layers_to_a_server_that_is_killed(
    entrepot: Program, ours: RunningServer, layout: Callable[[str], Path]
) -> None:
    """A layer whose bytes were all there, but which was not linked yet, is sent again: at most
    what was being sent at the time, besides."""
    with pushing(layout("twelve layers"), ours) as transfer:
        transfer.cut(entrepot, "server killed", ours)
        assert transfer.again(entrepot) <= MOST + 6 / LAYERS["twelve layers"][0]


@pytest.mark.slow
@pytest.mark.real("docker-registry")
@cases(("server killed", "thirty layers"), ("network dropped", "one layer"))
def test_push_to_docker_registry(
    entrepot: Program,
    theirs: RunningDockerRegistry,
    layout: Callable[[str], Path],
    cut: Cut,
    kind: str,
) -> None:
    """It drops an upload whose last answer the client has not got (its states are in the
    answers), so what was being sent at the time is sent again, but nothing that was done."""
    with pushing(layout(kind), theirs) as transfer:
        transfer.cut(entrepot, cut, theirs)
        at_work = min(1, 6 / LAYERS[kind][0])
        assert transfer.again(entrepot) <= min(1.01, MOST + at_work)


@cases(*EVERY_CUT, *SEVERAL_LAYERS)
def test_pull(
    entrepot: Program,
    source: RunningServer,
    layout: Callable[[str], Path],
    tmp_path: Path,
    cut: Cut,
    kind: str,
) -> None:
    with pulling(layout(kind), source, tmp_path) as transfer:
        transfer.cut(entrepot, cut, source)
        assert transfer.again(entrepot) <= MOST


@pytest.mark.slow
@cases(("client killed", "one layer"), ("network dropped", "twelve layers"))
def test_pull_to_an_archive(
    entrepot: Program,
    source: RunningServer,
    layout: Callable[[str], Path],
    tmp_path: Path,
    cut: Cut,
    kind: str,
) -> None:
    with pulling(layout(kind), source, tmp_path, "oci-archive") as transfer:
        transfer.cut(entrepot, cut, source)
        assert transfer.again(entrepot) <= MOST


@pytest.mark.slow
@cases(("server killed", "one layer"), *SEVERAL_LAYERS, ("interrupted", "one layer"))
def test_copy(
    entrepot: Program,
    source: RunningServer,
    ours: RunningServer,
    layout: Callable[[str], Path],
    cut: Cut,
    kind: str,
) -> None:
    with copying(layout(kind), source, ours) as transfer:
        transfer.cut(entrepot, cut, ours)
        assert transfer.again(entrepot) <= MOST
