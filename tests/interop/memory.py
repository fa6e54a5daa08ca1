"""How much memory a running server takes, over all of its processes."""

import threading
from pathlib import Path
from typing import Final

from tests.server import RunningServer

_INTERVAL_SECONDS: Final = 0.05


class PeakMemory:
    """The most that a server took while in this context, in bytes."""

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
    """Return the proportional set size of all processes of a server, in bytes.

    A page that some of them share counts once in all.
    """
    return sum(_proportional_size(pid) for pid in {server.process.pid, *server.workers})


def _proportional_size(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (line,) = (one for one in rollup.splitlines() if one.startswith("Pss:"))
    return int(line.split()[1]) * 1024
