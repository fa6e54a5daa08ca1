"""The spools of a cache beside its content: `entrepot.ports.spools` on one directory.

Made by `FilesystemContentStore.spools`, because what a spool becomes in the end is content there.
Any number of processes may share the directory.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from entrepot.adapters.content_stores.blob_files import BlobFiles
from entrepot.adapters.content_stores.disk_errors import disk_errors
from entrepot.adapters.content_stores.name_locks import NameLock
from entrepot.adapters.content_stores.spool import FilesystemSpool
from entrepot.adapters.content_stores.spool_places import SpoolFile, SpoolPlace, SpoolPlaces
from entrepot.adapters.content_stores.spool_writer import FilesystemSpoolWriter
from entrepot.adapters.content_stores.threads import Threads
from entrepot.oci.digest import Digest

_SOONEST: Final = 0.001
_LATEST: Final = 0.01
"""Seconds between two attempts to get what another process holds."""

_OPENING: Final = 100
"""How often it is looked for the file of a spool that somebody is just beginning to write."""


class FilesystemSpools:
    """See the port. One instance per process, used from one event loop."""

    def __init__(
        self, root: str, blobs: BlobFiles, threads: Threads, *, patience: float = 10.0
    ) -> None:
        """Make the directory below `root`. Raise Unavailable if that is not possible.

        `patience` is how long, in seconds, a reader waits for somebody to go on with a spool
        that nobody writes any more.
        """
        self._places = SpoolPlaces(root)
        self._blobs = blobs
        self._threads = threads
        self._patience = patience
        self._spools: WeakValueDictionary[Digest, FilesystemSpool] = WeakValueDictionary()
        self._writers: set[FilesystemSpoolWriter] = set()
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    async def begin(self, digest: Digest, size: int) -> FilesystemSpoolWriter | None:
        claim = asyncio.ensure_future(self._threads.run(self._places.claim, digest, size))
        try:
            file = await asyncio.shield(claim)
        except asyncio.CancelledError:
            await asyncio.wait([claim])
            if claim.exception() is None and (file := claim.result()) is not None:
                file.close()
            raise
        if file is None:
            return None
        try:
            writer = self._writer(file)
        except BaseException:
            file.close()
            raise
        return writer

    def _writer(self, file: SpoolFile) -> FilesystemSpoolWriter:
        with disk_errors():
            spool = self._spool(file.place, os.dup(file.descriptor))
        spool.attach()
        writer = FilesystemSpoolWriter(
            file, spool, self._blobs, self._threads, on_end=self._writers.discard
        )
        self._writers.add(writer)
        return writer

    def _spool(self, place: SpoolPlace, descriptor: int) -> FilesystemSpool:
        """Return this process's one object for the file that a descriptor, taken over, is open
        on."""
        known = self._spools.get(place.digest)
        found = os.fstat(descriptor)
        if (
            known is not None
            and not known.failed
            and known.identity
            == (
                found.st_dev,
                found.st_ino,
            )
        ):
            os.close(descriptor)
            return known
        spool = FilesystemSpool(place, descriptor, self._places, patience=self._patience)
        self._spools[place.digest] = spool
        return spool

    async def follow(self, digest: Digest) -> FilesystemSpool | None:
        known = self._spools.get(digest)
        if known is not None and known.written_here:
            return known
        for _ in range(_OPENING):
            if not self._places.is_written(digest):
                return None
            found = self._places.find(digest)
            if found is not None:
                return self._spool(*found)
            await asyncio.sleep(_SOONEST)
        return None

    def turn(self, key: str) -> AbstractAsyncContextManager[None]:
        return self._turn(key)

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[None]:
        queue, length = self._turns.get(key) or (asyncio.Lock(), 0)
        self._turns[key] = queue, length + 1
        try:
            async with queue:
                lock = await self._taken(f"turn {key}")
                try:
                    yield
                finally:
                    lock.release()
        finally:
            queue, length = self._turns.pop(key)
            if length > 1:
                self._turns[key] = queue, length - 1

    async def _taken(self, name: str) -> NameLock:
        """Wait for a lock that another process may hold."""
        pause = _SOONEST
        while (lock := self._places.locks.take(name)) is None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LATEST)
        return lock

    async def leftovers(self) -> list[tuple[Digest, int, float]]:
        """Return (digest, bytes, Unix time of the last write) of spools that nobody writes."""
        return await self._threads.run(self._places.leftovers)

    async def drop(self, digest: Digest) -> bool:
        """Remove what is left of a spool; return False, removing nothing, if somebody writes it."""
        return await self._threads.run(self._places.drop, digest)

    async def close(self) -> None:
        """Leave what is being written for the next start. The store closes after this."""
        for writer in list(self._writers):
            await writer.release()
        self._places.locks.close()
