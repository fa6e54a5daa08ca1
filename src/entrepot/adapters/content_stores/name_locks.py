"""Locks by name over all processes that share a file: as many as there are names, and no file
for any of them.

A name's lock is the kernel's lock on one byte of the file, far beyond its end. It belongs to the
open file, so it holds between two openers in one process as well, and it ends with the process,
however that ends. It can be looked at without being touched.
"""

import fcntl
import hashlib
import os
import struct
from typing import Final

from entrepot.adapters.content_stores.disk_errors import disk_errors
from entrepot.oci.errors import Unavailable

_FLOCK: Final = struct.Struct("hhqqi4x")
"""The kernel's `struct flock`: type, whence, start, length, process (0 for locks like these)."""

_POSITIONS: Final = 62
"""Bits of a byte's position; two names share one as good as never."""


class NameLocks:
    """The locks of the file at `path`. What is made before a fork may be used after it."""

    def __init__(self, path: str) -> None:
        """Make the file. Raise Unavailable if that is not possible."""
        self._path = path
        self._looking = self._open()

    def _open(self) -> int:
        with disk_errors():
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, name: str) -> "NameLock | None":
        """Return the lock of a name, None if somebody holds it. Raise Unavailable."""
        descriptor, position = self._open(), _position(name)
        try:
            with disk_errors():
                wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, position, 1, 0)
                try:
                    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
                except BlockingIOError:
                    os.close(descriptor)
                    return None
        except BaseException:
            os.close(descriptor)
            raise
        return NameLock(descriptor, position)

    def is_held(self, name: str) -> bool:
        """Tell whether anybody, here or elsewhere, holds a name's lock. Raise Unavailable."""
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _position(name), 1, 0)
        if self._looking < 0:
            raise Unavailable("the cache's locks are closed: the server is stopping; ask again")
        with disk_errors():
            found = fcntl.fcntl(self._looking, fcntl.F_OFD_GETLK, wanted)
        return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)

    def close(self) -> None:
        """Give back the file; what is held stays held."""
        descriptor, self._looking = self._looking, -1
        if descriptor >= 0:
            os.close(descriptor)


class NameLock:
    """A lock that is held until it is released, or the process ends."""

    __slots__ = ("_descriptor", "_position")

    def __init__(self, descriptor: int, position: int) -> None:
        self._descriptor = descriptor
        self._position = position

    def release(self) -> None:
        """Let go of it; nothing happens the second time."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # By name, too: a child process being started may for a moment share the file.
            free = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, self._position, 1, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, free)
            os.close(descriptor)


def _position(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> (64 - _POSITIONS)
