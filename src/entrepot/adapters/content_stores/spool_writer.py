"""Writing a spool: bytes to the file, their hash behind them, and the verified whole into place.

Pieces are written in the thread that brings them, one after another and through the page cache,
from which followers and the hash read them. A thread hashes what has been written while more
comes; what an earlier writer has left is hashed then as well.
"""

from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Final

from entrepot.adapters.content_stores.blob_files import BlobFiles
from entrepot.adapters.content_stores.disk_errors import disk_errors
from entrepot.adapters.content_stores.durability import Writeback
from entrepot.adapters.content_stores.running_hash import RunningHash
from entrepot.adapters.content_stores.spool import FilesystemSpool
from entrepot.adapters.content_stores.spool_places import SpoolFile
from entrepot.adapters.content_stores.threads import Threads, uncancelled
from entrepot.oci.errors import DigestInvalid, SizeInvalid, Unavailable

_HASHED_AT_ONCE: Final = 1 << 20
"""How many bytes must be waiting for a thread to begin hashing them."""

_STRIDE: Final = 8 << 20
"""How many bytes are hashed until it is seen whether the hash is still wanted."""


class FilesystemSpoolWriter:
    """See `ports.spools.SpoolWriter`. `on_end` is called with it when it does nothing any more."""

    def __init__(
        self,
        file: SpoolFile,
        spool: FilesystemSpool,
        blobs: BlobFiles,
        threads: Threads,
        *,
        on_end: "Callable[[FilesystemSpoolWriter], None]",
    ) -> None:
        self._file = file
        self._spool = spool
        self._blobs = blobs
        self._threads = threads
        self._on_end = on_end
        self._digest = file.place.digest
        self._running = RunningHash(self._digest.algorithm)
        self._writeback = Writeback(file.descriptor, file.size)
        self._writing = Lock()
        self._hashing = Lock()
        self._trailing = False
        self._ended = False

    @property
    def offset(self) -> int:
        return self._file.size

    @property
    def spool(self) -> FilesystemSpool:
        return self._spool

    def write(self, piece: memoryview) -> None:
        with self._writing:
            if self._ended:
                raise self._too_late()
            if self._file.size + len(piece) > self._spool.size:
                raise self._too_long(self._file.size + len(piece))
            try:
                self._file.append(piece)
            finally:
                self._spool.advance(self._file.size)
            if self._blobs.durable:
                self._writeback.reach(self._file.size)
        if not self._trailing and self._file.size - self._running.offset >= _HASHED_AT_ONCE:
            self._trailing = True
            with suppress(RuntimeError):  # the store has closed; a commit would say so
                self._threads.pool.submit(self._trail)

    async def commit(self) -> int:
        if self._ended:  # then the spool may be another writer's by now
            raise self._too_late()
        try:
            return await uncancelled(self._threads.run(self._commit))
        except (DigestInvalid, SizeInvalid) as error:
            failure = Unavailable(f"{self._digest} is not what it should be: {error.message}")
            self._spool.fail(failure)
            raise
        except Exception:
            # Nothing, if the bytes are right and only could not be put in place.
            self._spool.fail(Unavailable(f"{self._digest} could not be stored; ask again"))
            raise
        finally:
            self._spool.detach()
            self._on_end(self)

    async def release(self, error: Exception | None = None) -> None:
        if await uncancelled(self._threads.run(self._end)):
            self._file.close()
            self._on_end(self)
            if error is None:
                self._spool.detach()
            else:
                self._spool.fail(error)

    async def discard(self, error: Exception) -> bool:
        if not await uncancelled(self._threads.run(self._end)):
            return False
        self._spool.fail(error)
        try:
            await uncancelled(self._threads.run(self._file.place.remove))
        finally:
            self._file.close()
            self._on_end(self)
        return True

    def _end(self) -> bool:
        """Let nothing be written or hashed any more; return whether it was not so already."""
        with self._writing:
            ended, self._ended = self._ended, True
        with self._hashing:
            return not ended

    def _commit(self) -> int:
        if not self._end():
            raise self._too_late()
        try:
            try:
                self._verify()
            except (DigestInvalid, SizeInvalid):
                self._file.place.remove()
                raise
            self._file.seal()
            self._spool.verified()
            self._blobs.place(self._file, self._digest)
            return self._file.size
        finally:
            self._file.close()

    def _verify(self) -> None:
        if self._file.size != self._spool.size:
            raise SizeInvalid(
                f"{self._digest} ended after {self._file.size} of {self._spool.size} bytes; "
                "pull it again",
                detail={"expected": self._spool.size, "received": self._file.size},
            )
        with disk_errors():
            self._running.catch_up(self._file.descriptor, self._file.size)
        actual = self._running.digest()
        if actual != self._digest:
            raise DigestInvalid(
                f"the {self._file.size} bytes received are {actual}, not {self._digest}; "
                "pull it again, or from another upstream",
                detail={"digest": str(self._digest), "actual": str(actual)},
            )

    def _trail(self) -> None:
        """Hash what has been written, as long as much of it waits."""
        with self._hashing, suppress(OSError):  # the commit will meet it again, and tell
            while not self._ended and self._file.size - self._running.offset >= _HASHED_AT_ONCE:
                end = min(self._file.size, self._running.offset + _STRIDE)
                self._running.catch_up(self._file.descriptor, end)
        self._trailing = False

    def _too_late(self) -> Unavailable:
        return Unavailable(f"{self._digest} is not written here any more; ask again")

    def _too_long(self, received: int) -> SizeInvalid:
        return SizeInvalid(
            f"{self._digest} should have {self._spool.size} bytes, and more came; pull it again, "
            "or from another upstream",
            detail={"expected": self._spool.size, "received": received},
        )
