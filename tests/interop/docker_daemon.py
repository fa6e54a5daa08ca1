"""A dockerd of our own: its data, socket and containerd in one folder, no bridge, no iptables."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.programs import require_program

START_SECONDS: Final = 30
STOP_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.05


class DoesNotStart(Exception):
    """The daemon ended, or is not ready in time; the message is the last that it said."""


class DockerDaemon:
    """One dockerd. It takes commands at `address` when the constructor returns.

    `settings` go into its `daemon.json`, `environment` beside what this process has. The folder's
    path has to be short, as that of a socket is. Raise DoesNotStart.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.address = f"unix://{folder}/docker.sock"
        self._log = folder / "dockerd.log"
        configuration = folder / "daemon.json"
        # Without this the daemon leaves its key in /etc/docker.
        key = {"deprecated-key-path": str(folder / "key.json")}
        configuration.write_text(json.dumps(key | dict(settings or {})))
        self._command = [
            str(require_program("dockerd")),
            f"--config-file={configuration}",
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid",
            f"--host={self.address}",
            "--storage-driver=vfs",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
        ]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=folder,
                env=os.environ | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._wait()

    def stop(self) -> None:
        """End the daemon, and with it its containerd."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        ask = [str(require_program("docker")), f"--host={self.address}", "version"]
        while subprocess.run(ask, capture_output=True).returncode != 0:
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.stop()
                *_, last = ["it says nothing", *self._log.read_text().strip().splitlines()]
                raise DoesNotStart(last)
            time.sleep(_POLL_SECONDS)
