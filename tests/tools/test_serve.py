"""`dev.py serve` is all it takes: on a folder that does not exist yet, a registry answers."""

import os
import shutil
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from entrepot.testing.free_ports import free_port
from tests.waiting import wait_until
from tools import environment
from tools.environment import ROOT


@pytest.mark.skipif(
    environment.PYTHON.parent != Path(sys.executable).parent,
    reason="not in .venv, which dev.py would make",
)
def test_the_first_start_makes_what_it_needs_and_answers(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    command = [shutil.which("python3") or sys.executable, str(ROOT / "dev.py"), "serve"]
    command += ["--listen", address, "--data", "new/data"]
    settings = {key: value for key, value in os.environ.items() if not key.startswith("ENTREPOT_")}
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=settings, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            assert wait_until(lambda: ask(address, process), seconds=30) == 200
            assert (tmp_path / "new" / "data" / "metadata.db").is_file()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def ask(address: str, process: "subprocess.Popen[bytes]") -> int:
    """Return the status of `GET /v2/`, 0 while nobody listens."""
    assert process.poll() is None, "the server has ended"
    connection = HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
