"""How much memory a running server takes, over all of its processes."""

import threading
from pathlib import Path
from typing import Final

from tests.server import RunningServer

_INTERVAL_SECONDS: Final = 0.05


class PeakMemory:
    """The most that a server took while in this context: `bytes`, the sum of all its PSS.

    A page that processes share counts once in all (proportional set size).
    """

    def __init__(self, server: RunningServer) -> None:
        self.bytes = 0
        self._server = server
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> "PeakMemory":
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._done.wait(_INTERVAL_SECONDS):
            self.bytes = max(self.bytes, memory(self._server))


def memory(server: RunningServer) -> int:
    """Return the proportional set size of all processes of a server, in bytes."""
    return sum(_proportional_size(one) for one in Path("/proc").glob("[0-9]*") if _of(one, server))


def _of(process: Path, server: RunningServer) -> bool:
    """Say whether a process has the server's data directory on its command line."""
    try:
        return str(server.data).encode() in (process / "cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended meanwhile
        return False


def _proportional_size(process: Path) -> int:
    try:
        rollup = (process / "smaps_rollup").read_text()
    except OSError:
        return 0
    (line,) = (one for one in rollup.splitlines() if one.startswith("Pss:"))
    return int(line.split()[1]) * 1024
