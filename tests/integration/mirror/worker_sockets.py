"""Which worker of a mirror does what: who fills, and who has taken a connection."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.mirrors import RunningMirror
from tests.waiting import wait_until
from tests.wire import Wire


def filling_worker(mirror: RunningMirror) -> int:
    """Return the worker that writes a spool, once there is one."""
    return wait_until(lambda: next(_filling(mirror), 0))


def other_worker(mirror: RunningMirror, worker: int) -> int:
    """Return a worker that is not this one."""
    return next(pid for pid in mirror.workers if pid != worker)


def connected_to(mirror: RunningMirror, worker: int, *, timeout: float = 30.0) -> Wire:
    """Return a connection that this worker has taken."""

    def attempt() -> Wire | None:
        wire = Wire.to(mirror, timeout=timeout)
        if wait_until(lambda: _owner(mirror, wire)) == worker:
            return wire
        wire.close()
        return None

    return wait_until(attempt)


def _filling(mirror: RunningMirror) -> Iterator[int]:
    for worker in mirror.workers:
        for link, info in _files(worker):
            # The last octal digit of the flags is how it was opened: 2 is for reading and writing.
            if "/spools/" in link and info.split("flags:")[1].split()[0].endswith("2"):
                yield worker


def _owner(mirror: RunningMirror, wire: Wire) -> int:
    """Return the worker that has taken a connection, 0 while nobody has."""
    here, there = wire.sock.getsockname()[1], wire.sock.getpeername()[1]
    inodes = {
        columns[9]
        for columns in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        if _port(columns[1]) == there and _port(columns[2]) == here
    }
    sockets = {f"socket:[{inode}]" for inode in inodes - {"0"}}
    for worker in mirror.workers:
        if any(link in sockets for link, _ in _files(worker)):
            return worker
    return 0


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _files(pid: int) -> Iterator[tuple[str, str]]:
    """Yield where each open file of a process leads, and what the kernel tells of it."""
    with suppress(FileNotFoundError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                link = os.readlink(f"/proc/{pid}/fd/{name}")
                yield link, Path(f"/proc/{pid}/fdinfo/{name}").read_text()
