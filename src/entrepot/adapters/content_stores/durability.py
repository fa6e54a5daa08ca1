"""Getting bytes and names onto the disk, so that they outlive a power loss."""

import ctypes
import os
from typing import Final

_WRITE: Final = 2  # SYNC_FILE_RANGE_WRITE

_sync_file_range: Final = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def start_writeback(descriptor: int, offset: int, length: int) -> None:
    """Ask the kernel to begin writing a range of a file; wait for nothing, promise nothing.

    A sync later has then little left to do. Where the system has no such call, it does more.
    """
    if _sync_file_range is not None:
        _sync_file_range(descriptor, offset, length, _WRITE)


def sync_directory(path: str) -> None:
    """Wait until the names in a directory are on disk. Raise OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
