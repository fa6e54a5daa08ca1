"""A line that breaks again and again: one run gets through by itself, and sends little twice."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli.program import Program
from tests.integration.failure.cut_transfers import TAG, Transfer, pulling, pushing
from tests.server import RunningServer

CUTS = 8
"""More than the five repetitions in a row that the client is worth: it makes progress between."""

MOST = 1.12


def assert_gets_through(entrepot: Program, transfer: Transfer) -> None:
    transfer.relay.cut_after(transfer.size // (CUTS + 1), transfer.way, times=CUTS)
    entrepot(*transfer.words, "-q")
    assert transfer.relay.cuts == CUTS
    assert transfer.relay.passed[transfer.way] <= MOST * transfer.size
    transfer.assert_finished(entrepot)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one layer", "thirty layers"])
def test_push(
    entrepot: Program, ours: RunningServer, layout: Callable[[str], Path], kind: str
) -> None:
    with pushing(layout(kind), ours) as transfer:
        assert_gets_through(entrepot, transfer)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one layer", "thirty layers"])
def test_pull(
    entrepot: Program, ours: RunningServer, layout: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    folder = layout(kind)
    entrepot("push", f"oci:{folder}:{TAG}", f"{ours.host}/{folder.parent.name}:{TAG}")
    with pulling(folder, ours, tmp_path) as transfer:
        assert_gets_through(entrepot, transfer)
