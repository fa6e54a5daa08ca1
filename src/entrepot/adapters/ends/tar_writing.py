"""A tar written entry by entry, into a file that gets its name in the end, or down a pipe.

The same content gives the same bytes: no times, no owners.
"""

import asyncio
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from entrepot.adapters.ends.archive_input import STREAM
from entrepot.adapters.ends.block_writing import BlockWriter, write_all
from entrepot.adapters.ends.disk_errors import disk_errors
from entrepot.oci.errors import Unavailable, Unsupported
from entrepot.ports.image_end import BlobContent

_BLOCK_SIZE: Final = 512
_END: Final = bytes(2 * _BLOCK_SIZE)
_RECORD: Final = 20 * _BLOCK_SIZE
"""What the size of a whole tar is a multiple of."""


def header(name: str, size: int) -> bytes:
    """Return the header of a file of `size` bytes, in pax format where ustar has no room."""
    import tarfile

    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry.tobuf(tarfile.PAX_FORMAT)


class TarOutput:
    """Where a tar goes: a hidden file beside `path` until `commit`, or a pipe (`-` is standard
    output). One entry is written at a time; who comes meanwhile waits."""

    def __init__(self, path: str) -> None:
        """Open it. Raise Denied, StoreFull or Unavailable."""
        self.where = "standard output" if path == STREAM else path
        self.names: set[str] = set()
        self._path = Path(path)
        self._unnamed: Path | None = None
        self._at = 0
        self._broken = ""
        self._committed = False
        self._lock = asyncio.Lock()
        with disk_errors(self.where):
            self._descriptor = self._open(path)

    async def add(self, name: str, content: BlobContent) -> None:
        """Write a blob under a name, once. What fails in a file leaves no trace; in a pipe it
        is the end of the archive."""
        async with self._lock:
            if name in self.names:
                return
            self._require_open()
            size = content.descriptor.size
            start, writer = self._at, BlockWriter(self._write)
            try:
                await writer.add(header(name, size))
                async for chunk in content.read():
                    await writer.add(chunk)
                await writer.add(bytes(-size % _BLOCK_SIZE))
                await writer.finish()
            except BaseException:
                await writer.settle(keep=False)
                self._take_back(start, name)
                raise
            self.names.add(name)

    async def add_bytes(self, name: str, content: bytes) -> None:
        """Write a small file under a name, once."""
        async with self._lock:
            if name in self.names:
                return
            self._require_open()
            start, writer = self._at, BlockWriter(self._write)
            try:
                padding = bytes(-len(content) % _BLOCK_SIZE)
                await writer.add(header(name, len(content)) + content + padding)
                await writer.finish()
            except BaseException:
                await writer.settle(keep=False)
                self._take_back(start, name)
                raise
            self.names.add(name)

    async def commit(self) -> None:
        """End the archive and give it its name. Raise Unavailable if a pipe has broken."""
        async with self._lock:
            if not self._committed:
                self._require_open()
                await asyncio.to_thread(self._end)
                self._committed = True

    @property
    def committed(self) -> bool:
        """Whether the archive is complete."""
        return self._committed

    async def close(self) -> None:
        """Close it; a file that was not committed disappears."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        if self._unnamed is not None and not self._committed:
            self._unnamed.unlink(missing_ok=True)

    def _open(self, path: str) -> int:
        if path == STREAM:
            return os.dup(1)
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        self._unnamed = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}.partial")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.open(self._unnamed, flags, 0o644)

    def _write(self, chunks: Sequence[bytes]) -> None:
        with disk_errors(self.where):
            self._at += write_all(self._descriptor, chunks)

    def _end(self) -> None:
        self._write([_END, bytes(-(self._at + len(_END)) % _RECORD)])
        if self._unnamed is not None:
            with disk_errors(self.where):
                self._unnamed.rename(self._path)

    def _take_back(self, start: int, name: str) -> None:
        """Forget an entry that failed."""
        if self._unnamed is None:
            if self._at != start:
                self._broken = name
            return
        os.ftruncate(self._descriptor, start)
        os.lseek(self._descriptor, start, os.SEEK_SET)
        self._at = start

    def _require_open(self) -> None:
        if self._broken:
            raise Unavailable(
                f"the archive on {self.where} ends in the middle of {self._broken}, and what was "
                "sent cannot be taken back; run the command again, or write to a file first"
            )
        if self._committed or self._descriptor < 0:
            raise Unsupported(f"the archive {self.where} is complete; open it anew to replace it")
