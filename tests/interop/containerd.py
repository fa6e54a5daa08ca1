"""A containerd of our own: its content, state and socket in one folder, and no plug-in that would
leave anything elsewhere."""

from pathlib import Path
from typing import Final

from tests.interop.daemons import RunningDaemon
from tests.programs import require_program

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


class RunningContainerd(RunningDaemon):
    """One containerd."""

    def __init__(self, folder: Path) -> None:
        address = f"{folder}/socket"
        configuration = folder / "config.toml"
        configuration.write_text(_CONFIG.format(folder=folder))
        command = [str(require_program("containerd")), f"--config={configuration}"]
        question = [str(require_program("ctr")), f"--address={address}", "version"]
        super().__init__(folder, address, command, question)
