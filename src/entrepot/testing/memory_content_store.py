"""The fake content store: the whole contract in memory, for tests of what stands on it."""

import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import (
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    SizeInvalid,
    StoreFull,
)
from entrepot.ports.delivery import Delivery, Inline
from entrepot.protocol.upload import Event, State, after, check_order

_UPLOAD: Final = re.compile(r"[0-9a-zA-Z_-]{1,64}", re.ASCII)


@dataclass(slots=True, eq=False)
class _Arriving:
    """An ingest's bytes, where it stands, and when one of its requests last wrote."""

    written_at: float
    content: bytearray = field(default_factory=bytearray)
    state: State = State.OPEN


class MemoryContentStore:
    """See the port. With `capacity`, full at that many bytes; `now` gives the time of writes."""

    def __init__(
        self, *, capacity: int | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self.capacity = capacity
        self.now = now
        self.contents: dict[Digest, bytes] = {}
        self.used_at: dict[Digest, float] = {}
        self.arriving: dict[str, _Arriving] = {}

    async def close(self) -> None:
        self.contents.clear()
        self.arriving.clear()

    async def size(self, digest: Digest) -> int:
        return len(self._content(digest))

    async def open(self, digest: Digest, offset: int = 0, length: int | None = None) -> Delivery:
        content = self._content(digest)
        return Inline(content[offset : None if length is None else offset + length])

    async def read(self, digest: Digest, limit: int) -> bytes:
        content = self._content(digest)
        if len(content) > limit:
            raise SizeInvalid(f"{digest} has {len(content)} bytes; the limit is {limit}")
        return content

    async def put(self, digest: Digest, content: bytes) -> None:
        verify(digest, content)
        if digest not in self.contents:
            self.reserve(len(content))
        self.use(digest, content)

    async def delete(self, digest: Digest, *, unused_since: float | None = None) -> bool:
        self._content(digest)
        if unused_since is not None and self.used_at[digest] >= unused_since:
            return False
        del self.contents[digest], self.used_at[digest]
        return True

    async def ingest(
        self, upload: str, *, algorithm: str = "sha256", create: bool = False
    ) -> "MemoryIngest":
        if create:
            if _UPLOAD.fullmatch(upload) is None or upload in self.arriving:
                raise BlobUploadInvalid(f"{upload[:80]!r} is in use or not an upload id")
            Hasher(algorithm)
            self.arriving[upload] = _Arriving(self.now())
        elif upload not in self.arriving:
            raise BlobUploadUnknown(f"there is no upload {upload[:80]!r}")
        return MemoryIngest(self, upload, self.arriving[upload])

    async def digests(self) -> AsyncIterator[Digest]:
        for digest in list(self.contents):
            yield digest

    async def ingests(self) -> AsyncIterator[tuple[str, float]]:
        for upload, arriving in list(self.arriving.items()):
            yield upload, arriving.written_at

    def use(self, digest: Digest, content: bytes) -> None:
        """Keep content, if it is new, and note when it was used."""
        self.contents.setdefault(digest, content)
        self.used_at[digest] = self.now()

    def reserve(self, length: int) -> None:
        """Raise StoreFull unless `length` more bytes have room."""
        held = sum(map(len, self.contents.values()))
        held += sum(len(arriving.content) for arriving in self.arriving.values())
        if self.capacity is not None and held + length > self.capacity:
            raise StoreFull(f"{length} bytes do not fit; {held} of {self.capacity} are taken")

    def _content(self, digest: Digest) -> bytes:
        try:
            return self.contents[digest]
        except KeyError:
            raise BlobUnknown(f"there is no content {digest}") from None


class MemoryIngest:
    """See the port."""

    def __init__(self, store: MemoryContentStore, upload: str, arriving: _Arriving) -> None:
        self._store = store
        self._upload = upload
        self._arriving = arriving

    async def offset(self) -> int:
        self._require()
        return len(self._arriving.content)

    async def append(self, chunks: AsyncIterable[bytes], *, at: int | None = None) -> int:
        receiving = after(self._arriving.state, Event.BODY_STARTED)
        start = len(self._arriving.content)
        check_order(at, start)
        self._arriving.state = receiving
        try:
            async for chunk in chunks:
                self._take(chunk)
        except BaseException as error:
            if isinstance(error, StoreFull):
                del self._arriving.content[start:]
            if self._arriving.state is State.RECEIVING:  # else it has been aborted
                self._happens(Event.BODY_LOST)
            raise
        self._happens(Event.BODY_STORED)
        return len(self._arriving.content)

    async def commit(self, digest: Digest, *, at: int | None = None) -> int:
        committing = after(self._arriving.state, Event.CLOSED)
        check_order(at, len(self._arriving.content))
        self._arriving.state = committing
        content = bytes(self._arriving.content)
        try:
            verify(digest, content)
        except DigestInvalid:
            self._happens(Event.MISMATCHED)
            raise
        self._happens(Event.VERIFIED)
        self._store.use(digest, content)
        return len(content)

    async def abort(self) -> None:
        self._happens(Event.CANCELLED)

    def _take(self, chunk: bytes) -> None:
        self._require()
        self._store.reserve(len(chunk))
        self._arriving.content += chunk
        self._arriving.written_at = self._store.now()

    def _happens(self, event: Event) -> None:
        """Go where the table says. What has ended is forgotten."""
        self._arriving.state = after(self._arriving.state, event)
        if self._arriving.state in (State.DONE, State.GONE):
            del self._store.arriving[self._upload]

    def _require(self) -> None:
        """Raise BlobUploadUnknown if the ingest has ended."""
        if self._store.arriving.get(self._upload) is not self._arriving:
            raise BlobUploadUnknown(f"upload {self._upload} has ended")


def verify(digest: Digest, content: bytes) -> None:
    """Raise DigestInvalid if the content is not what the digest names."""
    actual = Digest.of(content, digest.algorithm)
    if actual != digest:
        raise DigestInvalid(f"the content is {actual}, not {digest}")
