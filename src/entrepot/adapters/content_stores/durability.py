"""Getting bytes and names onto the disk, so that they outlive a power loss."""

import ctypes
import os
from typing import Final

_WRITE: Final = 2  # SYNC_FILE_RANGE_WRITE

_STRIDE: Final = 8 << 20
"""After how many bytes the kernel is asked to begin writing them to disk."""

_sync_file_range: Final = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


class Writeback:
    """Lets the disk begin with what is written to a file that grows, so that the sync at the end
    is short. `begun` bytes are there from before."""

    __slots__ = ("_begun", "_descriptor")

    def __init__(self, descriptor: int, begun: int) -> None:
        self._descriptor = descriptor
        self._begun = begun

    def reach(self, size: int) -> None:
        """Note that the file has `size` bytes now."""
        if size - self._begun >= _STRIDE:
            _start_writeback(self._descriptor, self._begun, size - self._begun)
            self._begun = size


def sync_directory(path: str) -> None:
    """Wait until the names in a directory are on disk. Raise OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _start_writeback(descriptor: int, offset: int, length: int) -> None:
    """Ask the kernel to begin writing a range of a file; wait for nothing, promise nothing.

    A sync later has then little left to do. Where the system has no such call, it does more.
    """
    if _sync_file_range is not None:
        _sync_file_range(descriptor, offset, length, _WRITE)
