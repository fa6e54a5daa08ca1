"""A transfer that is cut at 60 % and run again sends at most 45 % of the bytes, and in between
nothing looks whole that is not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docker_registry import RunningDockerRegistry
from tests.integration.cli.program import Program
from tests.integration.failure.cut_transfers import CUTS, TAG, Cut, copying, pulling, pushing
from tests.server import RunningServer

MOST = 0.45

KINDS = ["one layer", "ten layers", "twenty layers"]


@pytest.fixture(scope="module")
def source(
    layout: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server with the images, which tests may kill and start again."""
    server = RunningServer(tmp_path_factory.mktemp("source"))
    entrepot = Program(tmp_path_factory.mktemp("pusher"))
    for kind in KINDS:
        folder = layout(kind)
        entrepot("push", f"oci:{folder}:{TAG}", f"{server.host}/{folder.parent.name}:{TAG}")
    yield server
    server.kill()
    assert "Traceback" not in server.log()


def cases(kinds: list[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Try each way to be cut with each kind of image, one of them also in the quick lane."""
    quick = ("network dropped", "one layer")
    return pytest.mark.parametrize(
        ("cut", "kind"),
        [
            pytest.param(cut, kind, marks=() if (cut, kind) == quick else pytest.mark.slow)
            for cut in CUTS
            for kind in kinds
        ],
    )


@cases(KINDS)
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


@pytest.mark.real("docker-registry")
@cases(KINDS)
def test_push_to_docker_registry(
    entrepot: Program,
    theirs: RunningDockerRegistry,
    layout: Callable[[str], Path],
    cut: Cut,
    kind: str,
) -> None:
    with pushing(layout(kind), theirs) as transfer:
        transfer.cut(entrepot, cut, theirs)
        assert transfer.again(entrepot) <= MOST


@cases(KINDS)
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


@cases(["ten layers"])
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


@cases(KINDS)
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
