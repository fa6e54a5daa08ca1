"""Archives to read: a file as it is; what comes from a pipe, or is compressed, by way of a
temporary file in TMPDIR, which has no name and goes with the process. Memory is constant."""

import io
import os
import select
import stat
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Any, Final

from entrepot.adapters.ends.block_reading import BLOCK
from entrepot.adapters.ends.block_writing import write_all
from entrepot.adapters.ends.disk_errors import disk_errors
from entrepot.adapters.ends.tar_reading import TarFiles
from entrepot.adapters.ends.thread_work import StopWork, stoppable
from entrepot.oci.errors import ContentInvalid, NameUnknown, RegistryError

STREAM: Final = "-"
"""The path of standard input and output."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BZIP2, _XZ = b"BZh", b"\xfd7zXZ\0"
_LONGEST: Final = 6
_LOOK: Final = 0.2
"""Seconds between two looks whether anybody still waits for a pipe."""


async def open_archive(path: str) -> TarFiles:
    """Open a tar, plain or compressed with gzip, zstd, bzip2 or xz; `-` is standard input.

    Raise NameUnknown if there is none, ContentInvalid if it is no whole tar, StoreFull if
    the temporary file does not fit.
    """
    return await stoppable(lambda stop: _open(path, stop), drop=TarFiles.close)


def _open(path: str, stop: threading.Event) -> TarFiles:
    where = "the archive on standard input" if path == STREAM else path
    descriptor = _descriptor(path, where)
    try:
        head = b""
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and path != STREAM:
            head = os.pread(descriptor, _LONGEST, 0)
            if decompressor(head) is None:
                return TarFiles(os.dup(descriptor), where)
        return _spooled(_Stream(descriptor, stop), where)
    finally:
        os.close(descriptor)


def _descriptor(path: str, where: str) -> int:
    if path == STREAM:
        return os.dup(0)
    with disk_errors(where):
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise NameUnknown(f"there is no archive {path}; check the path") from None


def _spooled(stream: "_Stream", where: str) -> TarFiles:
    """Copy a stream, decompressed, to a temporary file, and open that."""
    opener = decompressor(stream.peek())
    folder = tempfile.gettempdir()
    source: IO[bytes] = io.BufferedReader(stream, BLOCK)
    plain = opener(source) if opener else source
    copy = f"the temporary copy of {where} in {folder}"
    with disk_errors(copy, full=_MORE_ROOM), tempfile.TemporaryFile() as spool:
        while block := read_plain(plain, where):
            write_all(spool.fileno(), [block])
        return TarFiles(os.dup(spool.fileno()), where)


_MORE_ROOM: Final = "free space, or set TMPDIR to a folder with more room"


def read_plain(plain: IO[bytes], where: str) -> bytes:
    """Read a block of what is decompressed on the way. Raise ContentInvalid if it is damaged."""
    try:
        return plain.read(BLOCK)
    except (RegistryError, StopWork):
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(where) from None
    except Exception:  # every library has its own
        raise _damaged(where) from None


def _damaged(where: str) -> ContentInvalid:
    return ContentInvalid(f"{where} is compressed, and damaged or cut off; get it anew")


def decompressor(head: bytes) -> Callable[[IO[bytes]], IO[bytes]] | None:
    """Return what opens a stream that begins like this; None if it is not compressed."""
    if head.startswith(_GZIP):
        import gzip

        return lambda source: gzip.GzipFile(fileobj=source)  # type: ignore[return-value]
    if head.startswith(_ZSTD):
        return _open_zstd
    if head.startswith(_BZIP2):
        import bz2

        return bz2.BZ2File
    if head.startswith(_XZ):
        import lzma

        return lzma.LZMAFile
    return None


def _open_zstd(source: IO[bytes]) -> Any:
    """Return a file that reads `source` decompressed."""
    import sys

    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdFile
    else:
        from backports.zstd import ZstdFile
    return ZstdFile(source)


class _Stream(io.RawIOBase):
    """A file or pipe whose first bytes can be looked at, read until `stop` is set."""

    def __init__(self, descriptor: int, stop: threading.Event) -> None:
        self._descriptor = descriptor
        self._stop = stop
        self._head = b""

    def peek(self) -> bytes:
        """Return the first bytes, which are read again later."""
        while len(self._head) < _LONGEST and (more := self._read(_LONGEST - len(self._head))):
            self._head += more
        return self._head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head:
            block, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        else:
            block = self._read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def _read(self, length: int) -> bytes:
        while not select.select([self._descriptor], [], [], _LOOK)[0]:
            if self._stop.is_set():
                raise StopWork
        return os.read(self._descriptor, length)
