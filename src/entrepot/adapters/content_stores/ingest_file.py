"""The file of one upload: who may write to it, and writing to it.

Everything here blocks and is called from threads, except that the event loop itself opens the
file: that takes microseconds.
"""

import fcntl
import os
from collections.abc import Sequence

from entrepot.adapters.content_stores.disk_errors import disk_errors
from entrepot.adapters.content_stores.durability import Writeback
from entrepot.adapters.content_stores.ingest_place import IngestPlace
from entrepot.oci.errors import UploadBusy


class IngestFile:
    """An ingest's data, open for one request alone; every other one raises UploadBusy.

    The lock is the kernel's, so that it holds between processes and ends with the holder.
    """

    __slots__ = ("_writeback", "descriptor", "place", "size")

    def __init__(self, place: IngestPlace) -> None:
        """Open and lock. Raise BlobUploadUnknown or UploadBusy."""
        self.place = place
        with disk_errors():
            try:
                self.descriptor = os.open(place.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            except FileNotFoundError:
                raise place.unknown() from None
        try:
            self._lock()
        except BaseException:
            os.close(self.descriptor)
            raise

    def _lock(self) -> None:
        with disk_errors():
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UploadBusy(
                    f"another request is writing to upload {self.place.upload}; "
                    "wait for it to end, then ask for the offset"
                ) from None
            # Between the opening and the lock the file may have been committed or dropped:
            # then it is no longer at its path, and writing would change content.
            if not os.path.exists(self.place.path):
                raise self.place.unknown()
            self.size = os.fstat(self.descriptor).st_size
            self._writeback = Writeback(self.descriptor, self.size)

    def write(self, blocks: Sequence[bytes]) -> None:
        """Append at most 1024 blocks. Raise StoreFull, or BlobUploadUnknown after an abort."""
        with disk_errors():
            if os.fstat(self.descriptor).st_nlink == 0:
                raise self.place.unknown()
            pending: Sequence[bytes | memoryview] = blocks
            while pending:
                written = os.writev(self.descriptor, pending)
                self.size += written
                pending = _after(pending, written)

    def write_back(self) -> None:
        """Let the disk begin with what was written, so that the sync at the end is short."""
        self._writeback.reach(self.size)

    def truncate(self, size: int) -> None:
        """Drop everything behind `size` bytes."""
        with disk_errors():
            os.ftruncate(self.descriptor, size)
            self.size = size

    def close(self) -> None:
        """Unlock and close."""
        # Unlocked by name: a child process being started may for a moment share the lock.
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)


def _after(blocks: Sequence[bytes | memoryview], written: int) -> Sequence[bytes | memoryview]:
    """Return what is left of `blocks` behind the first `written` bytes."""
    for index, block in enumerate(blocks):
        if written < len(block):
            return [memoryview(block)[written:], *blocks[index + 1 :]]
        written -= len(block)
    return ()
