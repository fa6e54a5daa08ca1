"""A dockerd of our own: its data, socket and containerd in one folder, no bridge, no iptables."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.interop.daemons import RunningDaemon
from tests.programs import require_program


class DockerDaemon(RunningDaemon):
    """One dockerd.

    `settings` go into its `daemon.json`, `environment` beside what this process has.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        address = f"unix://{folder}/docker.sock"
        configuration = folder / "daemon.json"
        # Without this the daemon leaves its key in /etc/docker.
        key = {"deprecated-key-path": str(folder / "key.json")}
        configuration.write_text(json.dumps(key | dict(settings or {})))
        command = [
            str(require_program("dockerd")),
            f"--config-file={configuration}",
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid",
            f"--host={address}",
            "--storage-driver=vfs",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
        ]
        question = [str(require_program("docker")), f"--host={address}", "version"]
        super().__init__(folder, address, command, question, os.environ | dict(environment or {}))
