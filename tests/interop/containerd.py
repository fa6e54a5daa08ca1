"""A containerd of our own: its content, state and socket in one folder, and no plug-in that would
leave anything elsewhere."""

import subprocess
import time
from pathlib import Path
from typing import Final

from tests.programs import require_program

START_SECONDS: Final = 30
STOP_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.05

_CONFIG: Final = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.overlayfs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "{folder}/socket"

[ttrpc]
  address = "{folder}/ttrpc"
"""


class RunningContainerd:
    """One containerd. It takes commands at `address` when the constructor returns.

    The folder's path has to be short, as that of a socket is.
    """

    def __init__(self, folder: Path) -> None:
        self.address = f"{folder}/socket"
        self._log = folder / "containerd.log"
        configuration = folder / "config.toml"
        configuration.write_text(_CONFIG.format(folder=folder))
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [str(require_program("containerd")), f"--config={configuration}"],
                cwd=folder,
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
        ask = [str(require_program("ctr")), f"--address={self.address}", "version"]
        while subprocess.run(ask, capture_output=True).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"containerd does not start:\n{self._log.read_text()[-4000:]}")
            time.sleep(_POLL_SECONDS)
