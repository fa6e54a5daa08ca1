"""A transfer's memory does not grow with the blob."""

import subprocess
import sys

import pytest

from entrepot.testing.image_end_contents import MIB
from tests.server import RunningServer
from tools.environment import ROOT

MOST = 40 * MIB
"""What a push and a pull may take beside the program itself."""


@pytest.mark.slow
def test_a_blob_of_200_mib_passes_through(server: RunningServer) -> None:
    command = [sys.executable, "-m", "tests.integration.remotes.carrier", server.host]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert after - before < MOST
