"""One upload in the filesystem: `entrepot.ports.content_store.Ingest`."""

from collections.abc import AsyncIterable
from contextlib import suppress

from entrepot.adapters.content_stores.append import Append
from entrepot.adapters.content_stores.blob_files import BlobFiles
from entrepot.adapters.content_stores.checkpoint import Checkpoint
from entrepot.adapters.content_stores.disk_errors import disk_errors
from entrepot.adapters.content_stores.ingest_file import IngestFile
from entrepot.adapters.content_stores.ingest_place import IngestPlace
from entrepot.adapters.content_stores.running_hash import RunningHash, RunningHashes
from entrepot.adapters.content_stores.threads import Threads, uncancelled
from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid, RegistryError, UploadOutOfOrder
from entrepot.protocol.upload import check_order


class FilesystemIngest:
    """See the port. `abort` takes no lock: an append or commit it cuts off ends with
    BlobUploadUnknown."""

    def __init__(
        self,
        place: IngestPlace,
        blobs: BlobFiles,
        hashes: RunningHashes,
        threads: Threads,
    ) -> None:
        self._place = place
        self._blobs = blobs
        self._hashes = hashes
        self._threads = threads
        self._placed: tuple[Digest, int] | None = None
        """What the commit brought, and when."""

    async def offset(self) -> int:
        return self._place.stat().st_size

    async def append(self, chunks: AsyncIterable[bytes], *, at: int | None = None) -> int:
        file = IngestFile(self._place)
        try:
            check_order(at, file.size)
        except UploadOutOfOrder:
            file.close()
            raise
        append = Append(file, self._hashes, self._threads, durable=self._blobs.durable)
        try:
            async for chunk in chunks:
                if append.collect(chunk):
                    await append.room()
        except BaseException:
            with suppress(RegistryError):  # the first error is the one to tell
                await uncancelled(append.finish())
            raise
        return await uncancelled(append.finish())

    async def commit(self, digest: Digest, *, at: int | None = None) -> int:
        return await self._threads.run(self._commit, digest, at)

    def _commit(self, digest: Digest, at: int | None) -> int:
        file = IngestFile(self._place)
        try:
            check_order(at, file.size)
            actual = self._hashed(file, digest.algorithm)
            if actual != digest:
                self._place.remove()
                raise DigestInvalid(
                    f"the {file.size} bytes received are {actual}, not {digest}; upload them again",
                    detail={"digest": str(digest), "actual": str(actual)},
                )
            placed_at = self._blobs.place(file, digest)
            if placed_at is not None:
                self._placed = digest, placed_at
            return file.size
        finally:
            file.close()

    def _hashed(self, file: IngestFile, algorithm: str) -> Digest:
        """Return the digest of the whole file, reading no more of it than is not yet hashed."""
        running = self._hashes.take(self._place.path)
        if running is None or running.algorithm != algorithm:
            running = RunningHash(algorithm)
        if running.offset < file.size:
            noted = Checkpoint.read(self._place.checkpoint)
            if noted is not None and noted.covers(self._place.data, file.size, algorithm):
                return noted.digest
            with disk_errors():
                running.catch_up(file.descriptor, file.size)
        return running.digest()

    async def abort(self) -> None:
        self._hashes.take(self._place.path)
        await self._threads.run(self._place.remove)

    async def withdraw(self) -> None:
        placed, self._placed = self._placed, None
        if placed is not None:
            await self._threads.run(self._blobs.withdraw, *placed)
