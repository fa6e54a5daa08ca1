"""How an append's chunks reach the disk and the hash without holding up the event loop.

The loop collects chunks into batches of about 1 MiB. Each full batch is written and hashed by
threads, beside each other while cores are idle; both release the GIL, so the loop collects the
next batch meanwhile. At most two batches are under way: beyond that the source is not read.
What is small is one batch: one visit to a thread does everything.
"""

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Final

from entrepot.adapters.content_stores.checkpoint import Checkpoint
from entrepot.adapters.content_stores.disk_errors import disk_errors
from entrepot.adapters.content_stores.ingest_file import IngestFile
from entrepot.adapters.content_stores.running_hash import RunningHash, RunningHashes
from entrepot.adapters.content_stores.threads import Lane, Threads
from entrepot.oci.errors import RegistryError

BATCH: Final = 1 << 20
"""When a batch is full, in bytes."""

MOST_CHUNKS: Final = 1024
"""When a batch is full, in chunks: what one writev(2) takes."""

UNDER_WAY: Final = 2
"""How many full batches may wait to be written and hashed."""


class Append:
    """One append to an open ingest file, which it closes in the end."""

    def __init__(
        self, file: IngestFile, hashes: RunningHashes, threads: Threads, *, durable: bool
    ) -> None:
        self._file = file
        self._start = file.size
        self._hashes = hashes
        self._running = hashes.take(file.place.path) or RunningHash(file.place.algorithm)
        self._threads = threads
        self._durable = durable
        self._lanes: tuple[Lane, Lane] | None = None
        self._batch: list[bytes] = []
        self._collected = 0
        self._under_way: deque[tuple[asyncio.Future[None], asyncio.Future[None]]] = deque()

    def collect(self, chunk: bytes) -> bool:
        """Take a chunk. Return True if the caller must await `room` before the next."""
        self._batch.append(chunk)
        self._collected += len(chunk)
        return self._collected >= BATCH or len(self._batch) >= MOST_CHUNKS

    async def room(self) -> None:
        """Send the batch on its way; return when another one may be collected.

        Raise StoreFull, Unavailable or BlobUploadUnknown if an earlier one was not stored.
        """
        batch, self._batch, self._collected = self._batch, [], 0
        self._lanes = self._lanes or self._threads.lanes()
        writing, hashing = self._lanes
        written = writing.submit(partial(self._write, batch))
        hashed = hashing.submit(partial(self._hash, batch))
        self._under_way.append((written, hashed))
        if len(self._under_way) >= UNDER_WAY:
            for job in self._under_way[0]:
                await asyncio.shield(job)
            self._under_way.popleft()

    async def finish(self) -> int:
        """Store what is still collected, close the file and return the new offset.

        If anything was not stored, nothing of this append remains; raise as `room` does.
        """
        if self._lanes is None and not self._batch:
            self._hashes.keep(self._file.place.path, self._running)
            self._file.close()
            return self._start
        jobs = [job for pair in self._under_way for job in pair]
        await asyncio.gather(*jobs, return_exceptions=True)
        await self._threads.run(self._end)
        return self._file.size

    def _write(self, batch: list[bytes]) -> None:
        self._file.write(batch)
        if self._durable:
            self._file.write_back()

    def _hash(self, batch: list[bytes]) -> None:
        with disk_errors():
            if self._running.offset < self._start:
                self._running.catch_up(self._file.descriptor, self._start)
        self._running.update(batch)

    def _end(self) -> None:
        try:
            for lane in self._lanes or ():
                if lane.failure is not None:
                    raise lane.failure
            if self._batch:
                self._write(self._batch)
                self._hash(self._batch)
            self._note()
        except BaseException:
            with suppress(RegistryError):
                self._file.truncate(self._start)
            raise
        finally:
            self._file.close()

    def _note(self) -> None:
        """Leave the hash for this process's next request, and its digest for another's."""
        place = self._file.place
        with suppress(OSError):  # without a checkpoint the data is read once more, that is all
            Checkpoint.note(place.checkpoint, place.data, self._running)
        self._hashes.keep(place.path, self._running)
