"""A buildkitd of our own: its state and socket in one folder, with the configuration it is given.

Debian does not package it. `go install github.com/moby/buildkit/cmd/{buildkitd,buildctl}@v0.12.5`
builds what these tests were written with; it goes on PATH, or to `.tools/bin`.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.interop.daemons import RunningDaemon
from tests.programs import require_program


class RunningBuildKit(RunningDaemon):
    """One buildkitd, with this configuration and in this environment."""

    def __init__(self, folder: Path, configuration: Path, environment: Mapping[str, str]) -> None:
        address = f"unix://{folder}/socket"
        command = [
            str(require_program("buildkitd")),
            f"--root={folder}/root",
            f"--addr={address}",
            f"--config={configuration}",
            "--oci-worker=true",
            "--oci-worker-snapshotter=native",
            "--oci-worker-net=host",
            "--containerd-worker=false",
        ]
        question = [str(require_program("buildctl")), f"--addr={address}", "debug", "workers"]
        super().__init__(folder, address, command, question, environment)
