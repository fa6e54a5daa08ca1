"""Uploads: blobs pushed to a remote repository, whole or in parts, continued where they broke.

A small blob is one request behind the one that opens its upload. A larger one is a single
streamed request; after a failure the registry is asked how far it came, and that is where the
next one starts. Where a proxy limits the size of requests it goes in chunks.
Source: distribution-spec, "Pushing blobs".
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

from entrepot.adapters.remotes import upload_requests as requests
from entrepot.adapters.remotes.downloads import has_blob
from entrepot.adapters.remotes.endpoint import Endpoint, Streak
from entrepot.adapters.remotes.exchange import Body
from entrepot.adapters.remotes.upload_body import UploadBody
from entrepot.adapters.remotes.upload_notes import UploadNote, UploadNotes
from entrepot.adapters.remotes.upload_requests import BodyTooLarge, Upload, UploadLost
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    CertificateRefused,
    DigestInvalid,
    RegistryError,
    SizeInvalid,
    StoreFull,
    TooManyRequests,
    Unavailable,
    UploadBusy,
)
from entrepot.oci.reference import RepositoryName
from entrepot.ports.image_end import BlobContent

MONOLITHIC: Final = 4 * 1024 * 1024
"""Blobs of up to so many bytes go into the request that finishes the upload."""

NOTED: Final = 1024 * 1024
"""Blobs above so many bytes are worth a note, for a process that continues this one's upload:
all that are at work at a time are a large part of many an image."""

_IN_MEMORY: Final = 64 * 1024
_LARGEST_CHUNK: Final = 64 * 1024 * 1024
_SMALLEST_CHUNK: Final = 256 * 1024
_PASSING: Final = (Unavailable, UploadBusy, TooManyRequests)
_FINAL: Final = (StoreFull, CertificateRefused)

T = TypeVar("T")


@dataclass(slots=True)
class ChunkLimit:
    """The largest request body in bytes that a registry takes; None as long as it took all.

    It is learned from refusals, and one for all of the registry's repositories.
    """

    size: int | None = None

    def lower(self, refused: int, minimum: int) -> bool:
        """Take a refused body as too large; return False if there is no smaller one to try."""
        smallest = max(_SMALLEST_CHUNK, minimum)
        if refused <= smallest:
            return False
        self.size = max(smallest, min(_LARGEST_CHUNK, refused // 4))
        return True


class _Turn:
    """One digest being pushed by one, and awaited by others."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        self.stored = False


class Uploads:
    """The uploads to one repository. `notes` is None to continue nothing of other processes;
    blobs above `noted` bytes are worth one."""

    def __init__(
        self,
        endpoint: Endpoint,
        limit: ChunkLimit,
        notes: UploadNotes | None = None,
        noted: int = NOTED,
    ) -> None:
        self._endpoint = endpoint
        self._limit = limit
        self._notes = notes
        self._noted = noted
        self._turns: dict[Digest, _Turn] = {}
        self._offered: dict[Digest, Upload] = {}

    async def mount(self, digest: Digest, source: RepositoryName) -> bool:
        """Link a blob of another repository, if the registry does that; say whether it was
        done. The upload that it offers instead is kept for `put`."""
        done, offered = await requests.mount(self._endpoint, digest, source)
        if offered is not None:
            await self._forget(digest)
            self._offered[digest] = offered
        return done

    async def put(self, content: BlobContent) -> None:
        """Push a blob. Raise what reading it raises, DigestInvalid if the registry received
        something else, or what the registry refuses it with."""
        digest = content.descriptor.digest
        async with self._turn(digest) as turn:
            if turn.stored:
                return
            note = None
            if self._notes is not None and content.descriptor.size > self._noted:
                note = await self._notes.open(self._endpoint.host, self._endpoint.name, digest)
            push = _Push(self._endpoint, self._limit, content, note)
            push.upload = self._offered.pop(digest, None)
            try:
                await push.run()
            finally:
                if note is not None:
                    note.release()
                await push.body.close()
            turn.stored = True

    async def settle(self, digest: Digest) -> None:
        """Forget how to go on with a blob that turned out to be there: the registry had all of
        it when we were cut off from its answer."""
        if self._notes is not None:
            await self._notes.forget(self._endpoint.host, self._endpoint.name, digest)

    async def close(self) -> None:
        """Cancel the uploads that were offered and not used."""
        for digest in list(self._offered):
            await self._forget(digest)

    async def _forget(self, digest: Digest) -> None:
        if (offered := self._offered.pop(digest, None)) is not None:
            await requests.cancel(self._endpoint, offered)

    @asynccontextmanager
    async def _turn(self, digest: Digest) -> AsyncIterator[_Turn]:
        turn = self._turns.setdefault(digest, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield turn
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[digest]


class _Push:
    """One blob on its way.

    `upload` is what the registry has opened for it, None if nothing. Once a request has failed,
    `_unsure` is set and the registry is asked before anything else is sent.
    """

    def __init__(
        self, endpoint: Endpoint, limit: ChunkLimit, content: BlobContent, note: UploadNote | None
    ) -> None:
        self.upload: Upload | None = None
        self.body = UploadBody(content)
        self._endpoint = endpoint
        self._limit = limit
        self._descriptor: Descriptor = content.descriptor
        self._note = note
        self._streak = Streak(endpoint.retries)
        self._furthest = 0
        self._length = 0  # of the last body
        self._unsure = False
        self._closing = False
        self._resumed = False

    async def run(self) -> None:
        """Push until the blob is there or there is no hope."""
        await self._recall()
        while True:
            try:
                # The session repeats what opens and asks; what fails behind that is final.
                if self._unsure and await self._find_out():
                    break
                upload = self.upload or await self._open()
                await self._send(upload)
                break
            except Exception as error:
                await self._after(error)
        if self._note is not None:
            await self._note.remove()

    async def _send(self, upload: Upload) -> None:
        """Send what is missing, and finish."""
        size = self._descriptor.size
        if upload.offset == 0 and size <= min(MONOLITHIC, self._limit.size or MONOLITHIC):
            await self._finish(upload, size)
            return
        while upload.offset < size:
            upload = await self._append(upload)
        await self._finish(upload, 0)

    async def _finish(self, upload: Upload, length: int) -> None:
        body: bytes | Body = b""
        if upload.offset == 0:
            small = length <= _IN_MEMORY
            body = await self.body.whole() if small else self.body.part(0, length)
        self._length, self._closing = length, True
        await self._guarded(requests.close(self._endpoint, upload, self._descriptor.digest, body))

    async def _append(self, upload: Upload) -> Upload:
        """Send the rest, or a chunk of it."""
        rest = self._descriptor.size - upload.offset
        self._length = min(rest, max(self._limit.size or rest, upload.chunk_minimum))
        whole = upload.offset == 0 and self._length == rest
        body = self.body.part(upload.offset, self._length)
        upload = await self._guarded(
            requests.append(self._endpoint, upload, body, ranged=not whole)
        )
        await self._keep(upload)
        return upload

    async def _guarded(self, request: Awaitable[T]) -> T:
        """Make a request that changes the upload: when it fails, nobody knows how far it is."""
        self._unsure = True
        try:
            answer = await request
        except _PASSING as error:
            if isinstance(error, _FINAL):
                raise
            raise _Failed(error) from error
        self._unsure = False
        return answer

    async def _open(self) -> Upload:
        upload = await requests.start(self._endpoint, self._descriptor.digest)
        self._resumed = False
        await self._keep(upload)
        return upload

    async def _keep(self, upload: Upload) -> None:
        """Take an upload's new state, and note where it goes on."""
        self.upload = upload
        if upload.offset > self._furthest:
            self._furthest = upload.offset
            self._streak.progressed()
        if self._note is not None and upload.at_home:
            await self._note.write(_path(upload.location))

    async def _find_out(self) -> bool:
        """Ask the registry what it has. Say whether that is the blob."""
        if self._closing and await has_blob(self._endpoint, self._descriptor):
            return True
        found: Upload | None = None
        if self.upload is not None:
            try:
                found = await requests.ask(self._endpoint, self.upload)
            except UploadLost:
                pass
            except UploadBusy as error:
                raise _Failed(error) from error
        self.upload = None
        if found is not None and 0 < found.offset <= self._descriptor.size:
            self._resumed = True
            await self._keep(found)
        elif found is not None:  # nothing to continue, and `0-0` leaves open whether one byte
            await requests.cancel(self._endpoint, found)
        self._unsure = False
        return False

    async def _recall(self) -> None:
        """Continue what another process has noted."""
        location = self._note.location if self._note is not None else None
        if location is None:
            return
        if self.upload is not None:
            await requests.cancel(self._endpoint, self.upload)
        # A path only: it is asked where the registry is today.
        self.upload = Upload(location)
        self._unsure = True

    async def _after(self, error: Exception) -> None:
        """Prepare for another attempt, or raise what ends the upload."""
        failure = self.body.failure
        if failure is not None:
            if isinstance(failure, DigestInvalid | SizeInvalid):
                await self._give_up()
            raise failure from None
        if isinstance(error, BodyTooLarge):
            self._lower_limit()
        elif isinstance(error, DigestInvalid):
            await self._give_up()
            if not self._resumed:
                raise error
            # What an earlier attempt left there was damaged: once more, from the start.
            self._resumed = self._unsure = False
        elif isinstance(error, UploadLost):
            await self._streak.failed(self._lost(str(error)))
        elif isinstance(error, _Failed):
            await self._streak.failed(error.reason)
        else:
            raise error

    async def _give_up(self) -> None:
        upload, self.upload = self.upload, None
        if upload is not None:
            await requests.cancel(self._endpoint, upload)
        if self._note is not None:
            await self._note.remove()

    def _lower_limit(self) -> None:
        minimum = self.upload.chunk_minimum if self.upload else 0
        if not self._limit.lower(self._length, minimum):
            raise Unavailable(
                f"{self._endpoint.host} refuses a request of {self._length} bytes as too large; "
                "raise the limit of the proxy before it (client_max_body_size in nginx)"
            )

    def _lost(self, reason: str) -> Unavailable:
        return Unavailable(
            f"{self._endpoint} lost the upload of {self._descriptor.digest} again and again "
            f"({reason}); if several registries stand behind one name, they must share their "
            "storage"
        )


class _Failed(Exception):
    """A request of an upload failed for a `reason` that may pass."""

    def __init__(self, reason: RegistryError) -> None:
        super().__init__(reason.message)
        self.reason = reason


def _path(location: str) -> str:
    """Return an upload's path and query."""
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
