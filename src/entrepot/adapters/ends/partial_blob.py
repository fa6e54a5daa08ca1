"""A blob's file in a layout while it is not whole: hidden beside its place, locked by who writes
it, kept when the writer fails or is killed, continued by the next one, renamed when verified."""

import asyncio
import errno
import fcntl
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from entrepot.adapters.ends.block_reading import Region, hash_from
from entrepot.adapters.ends.block_writing import BlockWriter, write_all
from entrepot.adapters.ends.direct_writing import DirectFile
from entrepot.adapters.ends.disk_errors import KEPT, disk_errors
from entrepot.adapters.ends.thread_work import stoppable
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Hasher
from entrepot.oci.errors import DigestInvalid, RegistryError, SizeInvalid
from entrepot.ports.image_end import BlobContent, PouredContent

LARGE: Final = 8 << 20
"""From how many bytes on a blob is written past the page cache."""

_HASH_STEP: Final = 16 << 20
"""How many bytes are hashed before a cancellation is looked for."""


class PartialBlob:
    """The open and locked file of a blob that is not whole; one writer at a time, over all
    processes. Everything blocks but `receive`."""

    def __init__(self, place: Path, descriptor: int) -> None:
        self._place = place
        self._file = descriptor
        self._direct: DirectFile | None = None
        self.size = os.fstat(descriptor).st_size

    @classmethod
    def open(cls, place: Path) -> "PartialBlob | None":
        """Open what stands beside `place`, or begin it; None while another writer has it."""
        path = partial_path(place)
        with disk_errors(place):
            while True:
                descriptor = _open(path)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # Between opening and locking, its writer may have renamed or removed it.
                    if is_at(descriptor, path):
                        return cls(place, descriptor)
                except BlockingIOError:
                    os.close(descriptor)
                    return None
                except BaseException:
                    os.close(descriptor)
                    raise
                os.close(descriptor)

    async def receive(self, content: BlobContent) -> None:
        """Bring the file to the whole and verified blob, continuing what it holds.

        Raise what the content raises; what arrived is kept unless it is wrong.
        """
        wanted = content.descriptor
        hasher = Hasher(wanted.digest.algorithm)
        if self.size > wanted.size:
            self.truncate()
        await self._hash(hasher)
        if self.size == wanted.size and hasher.digest() == wanted.digest:
            return None
        if self.size == wanted.size:
            self.truncate()
        if self.size:
            try:
                return await self._append(content, hasher)
            except (DigestInvalid, SizeInvalid):
                self.truncate()  # what an earlier attempt had left may have been wrong
        try:
            await self._append(content, Hasher(wanted.digest.algorithm))
        except (DigestInvalid, SizeInvalid):
            self.truncate()
            raise

    def write(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Append chunks; some bytes may stay in memory until `flush`. Raise StoreFull; what
        fitted stays."""
        with disk_errors(self._place, full=KEPT):
            if self._direct is None:
                write_all(self._file, chunks)
            else:
                self._direct.write(chunks)

    def flush(self) -> None:
        """Write what is still in memory. Raise StoreFull; what fitted stays."""
        direct, self._direct = self._direct, None
        if direct is not None:
            with disk_errors(self._place, full=KEPT):
                try:
                    direct.flush()
                finally:
                    direct.close()

    def truncate(self) -> None:
        """Begin anew."""
        with disk_errors(self._place):
            os.ftruncate(self._file, 0)
        self.size = 0

    def keep(self, *, durable: bool) -> None:
        """Give the file its final name: it is whole."""
        with disk_errors(self._place, full=KEPT):
            if durable:
                os.fsync(self._file)
            os.rename(partial_path(self._place), self._place)
            if durable:
                sync(self._place.parent)

    def discard(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            os.unlink(partial_path(self._place))

    def close(self) -> None:
        """Unlock and close; an empty file is removed."""
        with suppress(OSError):
            if os.fstat(self._file).st_size == 0 and is_at(self._file, partial_path(self._place)):
                self.discard()
        os.close(self._file)

    async def _append(self, content: BlobContent, hasher: Hasher) -> None:
        if content.descriptor.size - self.size >= LARGE:
            self._direct = DirectFile.of(partial_path(self._place), self._file, self.size)
        try:
            if isinstance(content, PouredContent):
                await content.pour(lambda piece: self.write((piece,)), self.size, hasher)
            else:
                await self._copy(content, hasher)
            await asyncio.to_thread(self.flush)
        finally:
            with suppress(RegistryError):  # the first error is the one to tell
                self.flush()
            self.size = os.fstat(self._file).st_size

    async def _copy(self, content: BlobContent, hasher: Hasher) -> None:
        writer = BlockWriter(self.write)
        try:
            async for chunk in content.read(self.size, hasher):
                await writer.add(chunk)
            await writer.finish()
        finally:
            await writer.settle(keep=True)

    async def _hash(self, hasher: Hasher) -> None:
        region = Region(self._file, 0, self.size, str(self._place), shared=True)
        at = 0
        while at < self.size:
            job = asyncio.get_running_loop().run_in_executor(
                None, hash_from, region, at, hasher, _HASH_STEP
            )
            try:
                at = await asyncio.shield(job)
            except asyncio.CancelledError:
                await asyncio.wait([job])  # the thread must not read from a closed file
                raise


def partial_path(place: Path) -> Path:
    """Return where the unfinished file of a blob stands."""
    return place.with_name(f".{place.name}.partial")


@asynccontextmanager
async def partial_blob(place: Path) -> AsyncIterator[PartialBlob]:
    """Have a blob's unfinished file for oneself, waiting for other writers."""
    for pause in _pauses():
        # Who is cancelled meanwhile must not keep the lock.
        opened = await stoppable(lambda _: PartialBlob.open(place), drop=_close)
        if opened is not None:
            break
        await asyncio.sleep(pause)
    assert opened is not None
    try:
        yield opened
    finally:
        opened.close()


def _close(opened: PartialBlob | None) -> None:
    if opened is not None:
        opened.close()


def is_whole(place: Path, descriptor: Descriptor) -> bool:
    """Say whether a file of the right size stands at its final place."""
    with disk_errors(place):
        try:
            return os.stat(place).st_size == descriptor.size
        except (FileNotFoundError, NotADirectoryError):
            return False


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)


def is_at(descriptor: int, path: Path) -> bool:
    """Say whether an open file still stands at a path."""
    try:
        there = os.lstat(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _pauses() -> Iterator[float]:
    """Yield the seconds to wait for another writer: often at first, then five times a second."""
    pause = 0.01
    while True:
        yield pause
        pause = min(pause * 2, 0.2)
