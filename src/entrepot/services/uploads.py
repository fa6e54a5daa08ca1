"""Uploads: blobs on their way in, in one request or many, resumable from the last byte stored."""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUploadUnknown, DigestInvalid, RegistryError, StoreFull
from entrepot.oci.reference import RepositoryName
from entrepot.ports.clock import Clock
from entrepot.ports.content_store import CanWithdraw, ContentStore, Ingest
from entrepot.ports.metadata_store import BlobLinks, UploadSession
from entrepot.ports.metadata_store import Uploads as Sessions
from entrepot.services.gates import Actor, Change, Gates

TOUCH_INTERVAL = 60.0
"""Seconds between two notes that a session is alive; more often would only cost writes."""


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """An open upload and the number of bytes it holds."""

    id: str
    offset: int


@dataclass(frozen=True, slots=True)
class Uploads:
    """Starting, feeding, finishing and cancelling uploads. `lease` is in seconds.

    An upload belongs to the repository and the actor that began it; to everyone else it does
    not exist.
    """

    sessions: Sessions
    links: BlobLinks
    content: ContentStore
    gates: Gates
    clock: Clock
    new_id: Callable[[], str]
    lease: float

    async def start(
        self, actor: Actor, repository: RepositoryName, *, algorithm: str = "sha256"
    ) -> UploadProgress:
        """Open an upload, to be hashed with `algorithm` (end-4a). Raise DigestInvalid."""
        await self.gates.admit(Change("push blob", actor, repository))
        upload, now = self.new_id(), self.clock.now()
        ingest = await self.content.ingest(upload, algorithm=algorithm, create=True)
        async with _dropped_on_failure(ingest):
            await self.sessions.start(
                UploadSession(upload, repository, algorithm, actor.name, now, now)
            )
        return UploadProgress(upload, 0)

    async def store(
        self,
        actor: Actor,
        repository: RepositoryName,
        digest: Digest,
        chunks: AsyncIterable[bytes],
    ) -> int:
        """Take a whole blob in one request (end-4b); return its size. No session is opened:
        what fails is begun anew. Raise DigestInvalid."""
        await self.gates.admit(Change("push blob", actor, repository, digest))
        ingest = await self.content.ingest(self.new_id(), algorithm=digest.algorithm, create=True)
        async with _dropped_on_failure(ingest):
            await ingest.append(chunks)
            size = await ingest.commit(digest)
        await self._link(actor, repository, ingest, digest, size, None)
        return size

    async def status(self, actor: Actor, repository: RepositoryName, upload: str) -> UploadProgress:
        """Return how far the upload is (end-13). Raise BlobUploadUnknown."""
        _, ingest = await self._find(actor, repository, upload)
        return UploadProgress(upload, await ingest.offset())

    async def append(
        self,
        actor: Actor,
        repository: RepositoryName,
        upload: str,
        chunks: AsyncIterable[bytes],
        *,
        at: int | None,
    ) -> UploadProgress:
        """Store bytes behind what is there (end-5); `at` is where the client believes that is.

        Raise BlobUploadUnknown, UploadOutOfOrder or UploadBusy.
        """
        session, ingest = await self._find(actor, repository, upload)
        now = self.clock.now()
        if now - session.touched_at > TOUCH_INTERVAL:
            await self.sessions.touch(upload, now)
        return UploadProgress(upload, await ingest.append(chunks, at=at))

    async def finish(
        self,
        actor: Actor,
        repository: RepositoryName,
        upload: str,
        digest: Digest,
        chunks: AsyncIterable[bytes] | None,
        *,
        at: int | None,
    ) -> int:
        """Store the last bytes, if any, verify the whole and link it (end-6); return its size.

        Raise what `append` raises, or DigestInvalid: those bytes are useless and are dropped.
        """
        _, ingest = await self._find(actor, repository, upload)
        await self.gates.admit(Change("push blob", actor, repository, digest))
        if chunks is not None:
            at = await ingest.append(chunks, at=at)
        try:
            size = await ingest.commit(digest, at=at)
        except DigestInvalid:
            await self.sessions.end(upload)
            raise
        await self._link(actor, repository, ingest, digest, size, upload)
        return size

    async def cancel(self, actor: Actor, repository: RepositoryName, upload: str) -> None:
        """Drop the upload and its bytes (end-14). Raise BlobUploadUnknown."""
        _, ingest = await self._find(actor, repository, upload)
        await ingest.abort()
        await self.sessions.end(upload)

    async def _find(
        self, actor: Actor, repository: RepositoryName, upload: str
    ) -> tuple[UploadSession, Ingest]:
        session = await self.sessions.find(upload)
        if session.repository != repository or session.actor != actor.name:
            raise BlobUploadUnknown(
                "there is no such upload in this repository; start a new one",
                detail={"upload": upload},
            )
        return session, await self.content.ingest(upload)

    async def _link(
        self,
        actor: Actor,
        repository: RepositoryName,
        ingest: Ingest,
        digest: Digest,
        size: int,
        upload: str | None,
    ) -> None:
        """Link what an ingest has just brought, and end its session if it has one."""
        now = self.clock.now()
        try:
            await self.links.add(
                repository,
                digest,
                size,
                leased_until=now + self.lease,
                actor=actor.name,
                at=now,
                upload=upload,
            )
        except StoreFull:
            # Of any other failure nobody knows whether the link was made after all.
            if isinstance(ingest, CanWithdraw):
                await ingest.withdraw()
            raise


@asynccontextmanager
async def _dropped_on_failure(ingest: Ingest) -> AsyncIterator[None]:
    """Abort the ingest if the block raises: its client begins anew."""
    try:
        yield
    except BaseException:
        with suppress(RegistryError):  # the first error is the one to tell
            await ingest.abort()
        raise
