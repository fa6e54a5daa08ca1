"""Which directories are listed and files opened: inotify(7), through the C library."""

import ctypes
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_LIBRARY = ctypes.CDLL(None, use_errno=True)
_ACCESS, _OPEN = 0x01, 0x20
_EVENT = struct.Struct("iIII")


@contextmanager
def watch_directories(directories: Sequence[Path]) -> Iterator[Callable[[], list[Path]]]:
    """Watch directories; `seen()` returns those in which something was opened since last time."""
    descriptor = _LIBRARY.inotify_init1(os.O_NONBLOCK)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    watches = {}
    for directory in directories:
        watch = _LIBRARY.inotify_add_watch(descriptor, bytes(directory), _ACCESS | _OPEN)
        if watch < 0:
            raise OSError(ctypes.get_errno(), str(directory))
        watches[watch] = directory

    def seen() -> list[Path]:
        found = []
        try:
            data = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return []
        while data:
            watch, _, _, length = _EVENT.unpack_from(data)
            found.append(watches[watch])
            data = data[_EVENT.size + length :]
        return found

    try:
        yield seen
    finally:
        os.close(descriptor)
