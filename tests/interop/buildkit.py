"""A buildkitd of our own: its state and socket in one folder, with the configuration it is given.

Debian does not package it. `go install github.com/moby/buildkit/cmd/{buildkitd,buildctl}@v0.12.5`
builds what these tests were written with; it goes on PATH, or to `.tools/bin`.
"""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.programs import require_program

START_SECONDS: Final = 30
STOP_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.05


class RunningBuildKit:
    """One buildkitd. It takes commands at `address` when the constructor returns."""

    def __init__(self, folder: Path, configuration: Path, environment: Mapping[str, str]) -> None:
        self.address = f"unix://{folder}/socket"
        self._log = folder / "buildkitd.log"
        command = [
            str(require_program("buildkitd")),
            f"--root={folder}/root",
            f"--addr={self.address}",
            f"--config={configuration}",
            "--oci-worker=true",
            "--oci-worker-snapshotter=native",
            "--oci-worker-net=host",
            "--containerd-worker=false",
        ]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._wait()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        ask = [str(require_program("buildctl")), f"--addr={self.address}", "debug", "workers"]
        while subprocess.run(ask, capture_output=True).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"buildkitd does not start:\n{self._log.read_text()[-4000:]}")
            time.sleep(_POLL_SECONDS)
