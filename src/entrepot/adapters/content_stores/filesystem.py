"""The filesystem content store: `entrepot.ports.content_store` on one directory.

    <root>/blobs/<algorithm>/<first 2 hex>/<hex>    content, see blob_files.py
    <root>/ingests/<upload id>/                     uploads, see ingest_file.py
    <root>/spools/, <root>/locks                    where it is a cache, see spool_places.py

Any number of processes may share a root, as long as one kernel or a file system with working
flock(2) and atomic rename(2) is below them.
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from entrepot.adapters.content_stores.blob_files import BlobFiles
from entrepot.adapters.content_stores.disk_errors import disk_errors
from entrepot.adapters.content_stores.ingest import FilesystemIngest
from entrepot.adapters.content_stores.ingest_file import IngestFile
from entrepot.adapters.content_stores.ingest_place import IngestPlace
from entrepot.adapters.content_stores.running_hash import RunningHashes
from entrepot.adapters.content_stores.small_content import SmallContent
from entrepot.adapters.content_stores.spools import FilesystemSpools
from entrepot.adapters.content_stores.threads import Threads
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    BlobUploadUnknown,
    DigestInvalid,
    RegistryError,
    SizeInvalid,
    Unavailable,
)
from entrepot.ports.delivery import Delivery, File, Inline

SMALL: Final = 64 << 10
"""Content up to this size, in bytes, is delivered from memory."""


class FilesystemContentStore:
    """See the port. One instance per process, used from one event loop.

    `durable` syncs content to disk before it counts as stored; without it a power loss (not a
    crash of the process) may lose or cut what was stored last. `memory` is the size in bytes of
    the cache of small content, which may for a while still hold what another process deleted:
    whether it may be read is for the metadata store to say. `threads` bounds how many writes,
    hashes and syncs run at once, `hashes` how many uploads can continue without being read
    again.
    """

    def __init__(
        self,
        root: Path,
        *,
        durable: bool = True,
        memory: int = 16 << 20,
        threads: int = 16,
        hashes: int = 256,
    ) -> None:
        """Make the directories below `root`. Raise Unavailable if that is not possible."""
        self._root = directory = os.path.abspath(root)
        self._ingests = f"{directory}/ingests"
        with disk_errors():
            os.makedirs(self._ingests, exist_ok=True)
        self._blobs = BlobFiles(directory, durable=durable)
        self._small = SmallContent(memory)
        self._hashes = RunningHashes(hashes)
        self._threads = Threads(threads)

    def spools(self, *, patience: float = 10.0) -> FilesystemSpools:
        """Return the spools whose bytes become content of this store; they use its threads and
        are closed before it. `patience` is in seconds, see FilesystemSpools."""
        return FilesystemSpools(self._root, self._blobs, self._threads, patience=patience)

    async def close(self) -> None:
        """End the threads; what they have begun is finished first."""
        await self._threads.close()

    async def ping(self) -> None:
        """Return if the directories are there and may be written to. Raise Unavailable."""
        for directory in (self._ingests, self._blobs.root):
            if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
                raise Unavailable("the content store's directories are gone or not writable")

    async def size(self, digest: Digest) -> int:
        return self._blobs.size(digest)

    async def stamp(self, digest: Digest) -> str:
        """See `CanStamp`. A use that `put` and `commit` note changes the stamp too. What memory
        holds of a file with another stamp is forgotten, so that it is read again."""
        stamp = self._blobs.stamp(digest)
        self._small.check(digest, stamp)
        return stamp

    async def open(self, digest: Digest, offset: int = 0, length: int | None = None) -> Delivery:
        content = self._small.get(digest)
        if content is None:
            size = self._blobs.size(digest)
            if size > SMALL:
                path = Path(self._blobs.path(digest))
                return File(path, offset, size - offset if length is None else length)
            content = await self._load(digest)
        return Inline(content[offset : None if length is None else offset + length])

    async def read(self, digest: Digest, limit: int) -> bytes:
        content = self._small.get(digest)
        size = self._blobs.size(digest) if content is None else len(content)
        if size > limit:
            raise SizeInvalid(
                f"{digest} has {size} bytes, more than the {limit} that are read here",
                detail={"size": size, "limit": limit},
            )
        return await self._load(digest) if content is None else content

    async def _load(self, digest: Digest) -> bytes:
        stamp = self._blobs.stamp(digest)
        content = await self._threads.run(self._blobs.read, digest)
        self._remember(digest, content, stamp)
        return content

    def _remember(self, digest: Digest, content: bytes, stamp: str) -> None:
        if len(content) <= SMALL:
            self._small.add(digest, content, stamp)

    async def put(self, digest: Digest, content: bytes) -> None:
        stamp = await self._threads.run(self._put, digest, content)
        self._remember(digest, content, stamp)

    def _put(self, digest: Digest, content: bytes) -> str:
        actual = Digest.of(content, digest.algorithm)
        if actual != digest:
            raise DigestInvalid(
                f"the content is {actual}, not {digest}",
                detail={"digest": str(digest), "actual": str(actual)},
            )
        place = IngestPlace.create(self._ingests, secrets.token_hex(16), digest.algorithm)
        file = IngestFile(place)
        try:
            file.write([content])
            self._blobs.place(file, digest)
        except BaseException:
            with suppress(RegistryError):
                place.remove()
            raise
        finally:
            file.close()
        with suppress(BlobUnknown):
            return self._blobs.stamp(digest)
        return ""  # deleted again meanwhile

    async def delete(self, digest: Digest, *, unused_since: float | None = None) -> bool:
        try:
            return await self._threads.run(self._blobs.delete, digest, unused_since)
        finally:
            self._small.drop(digest)

    async def ingest(
        self, upload: str, *, algorithm: str = "sha256", create: bool = False
    ) -> FilesystemIngest:
        if create:
            place = await self._threads.run(IngestPlace.create, self._ingests, upload, algorithm)
        else:
            place = IngestPlace.find(self._ingests, upload)
        return FilesystemIngest(place, self._blobs, self._hashes, self._threads)

    async def digests(self) -> AsyncIterator[Digest]:
        for algorithm, directory in await self._threads.run(self._blobs.fan_out):
            for digest in await self._threads.run(self._blobs.held, algorithm, directory):
                yield digest

    async def ingests(self) -> AsyncIterator[tuple[str, float]]:
        """Also uploads whose process died while it began or ended them; abort clears them."""
        for batch in await self._threads.run(self._upload_batches):
            for upload, written_at in await self._threads.run(self._last_writes, batch):
                yield upload, written_at

    def _upload_batches(self) -> list[list[str]]:
        with disk_errors():
            uploads = os.listdir(self._ingests)
        return [uploads[at : at + 256] for at in range(0, len(uploads), 256)]

    def _last_writes(self, uploads: list[str]) -> list[tuple[str, float]]:
        found = []
        for upload in uploads:
            with suppress(BlobUploadUnknown):  # ended since it was listed, or a stranger's file
                place = IngestPlace.find(self._ingests, upload)
                found.append((upload, place.written_at()))
        return found
