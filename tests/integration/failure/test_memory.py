"""A layer of 1 GiB is pulled and pushed in constant memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from entrepot.testing import MockRegistry
from tests.integration.cli.program import Program

MIB = 1 << 20
MOST = 120 * MIB

_RUN = """
import sys
from pathlib import Path
from entrepot.cli.main import main
code = main(sys.argv[1:])
told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(told["VmHWM"].removesuffix("kB")) * 1024, file=sys.stderr)
sys.exit(code)
"""


def peak(entrepot: Program, *words: str) -> int:
    """Run the program and return the most memory that its process had, in bytes.

    Told by the process itself: what a parent learns counts the parent's own before it forked.
    """
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *words],
        cwd=entrepot.folder,
        env=entrepot.environment,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    return int(done.stderr.split()[-1])


@pytest.mark.slow
def test_pull_and_push(entrepot: Program, mock: MockRegistry, tmp_path: Path) -> None:
    image = mock.add_image("tests/huge", "1.0", layers=1, layer_size=1024 * MIB)
    assert peak(entrepot, "pull", "-q", image.reference, "oci:out:1.0") < MOST
    target = f"{mock.host}/tests/pushed:1.0"
    for blob in image.blobs:
        assert (entrepot.folder / "out/blobs/sha256" / blob.digest.hex).stat().st_size == blob.size
    mock.clear_requests()
    assert peak(entrepot, "push", "-q", "oci:out:1.0", target) < MOST
    assert mock.bytes_received > image.size
    assert mock.manifest("tests/pushed", "1.0") == image.manifest
