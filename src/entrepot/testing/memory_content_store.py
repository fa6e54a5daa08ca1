"""The fake content store: the whole contract in memory, for tests of what stands on it."""

import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import (
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    SizeInvalid,
    StoreFull,
    UploadBusy,
    UploadOutOfOrder,
)
from entrepot.ports.delivery import Delivery, Inline

_UPLOAD: Final = re.compile(r"[0-9a-zA-Z_-]{1,64}", re.ASCII)


@dataclass(slots=True, eq=False)
class _Arriving:
    """An open ingest's bytes, whether a request is writing to them, and when one last did."""

    content: bytearray
    busy: bool
    written_at: float


class MemoryContentStore:
    """See the port. With `capacity`, full at that many bytes; `now` gives the time of writes."""

    def __init__(
        self, *, capacity: int | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self.capacity = capacity
        self.now = now
        self.contents: dict[Digest, bytes] = {}
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
            self.contents[digest] = content

    async def delete(self, digest: Digest) -> None:
        self._content(digest)
        del self.contents[digest]

    async def ingest(
        self, upload: str, *, algorithm: str = "sha256", create: bool = False
    ) -> "MemoryIngest":
        if create:
            if _UPLOAD.fullmatch(upload) is None or upload in self.arriving:
                raise BlobUploadInvalid(f"{upload[:80]!r} is in use or not an upload id")
            Hasher(algorithm)
            self.arriving[upload] = _Arriving(bytearray(), busy=False, written_at=self.now())
        elif upload not in self.arriving:
            raise BlobUploadUnknown(f"there is no upload {upload[:80]!r}")
        return MemoryIngest(self, upload, self.arriving[upload])

    async def digests(self) -> AsyncIterator[Digest]:
        for digest in list(self.contents):
            yield digest

    async def ingests(self) -> AsyncIterator[tuple[str, float]]:
        for upload, arriving in list(self.arriving.items()):
            yield upload, arriving.written_at

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
        self._require_idle()
        start = len(self._arriving.content)
        if at is not None and at != start:
            raise UploadOutOfOrder(f"{start} bytes are stored, not {at}", offset=start)
        self._arriving.busy = True
        try:
            async for chunk in chunks:
                self._require()
                self._store.reserve(len(chunk))
                self._arriving.content += chunk
                self._arriving.written_at = self._store.now()
        except StoreFull:
            del self._arriving.content[start:]
            raise
        finally:
            self._arriving.busy = False
        return len(self._arriving.content)

    async def commit(self, digest: Digest) -> int:
        self._require_idle()
        del self._store.arriving[self._upload]
        content = bytes(self._arriving.content)
        verify(digest, content)
        self._store.contents.setdefault(digest, content)
        return len(content)

    async def abort(self) -> None:
        self._require()
        del self._store.arriving[self._upload]

    def _require(self) -> None:
        if self._store.arriving.get(self._upload) is not self._arriving:
            raise BlobUploadUnknown(f"upload {self._upload} has ended")

    def _require_idle(self) -> None:
        self._require()
        if self._arriving.busy:
            raise UploadBusy(f"another request is writing to upload {self._upload}")


def verify(digest: Digest, content: bytes) -> None:
    """Raise DigestInvalid if the content is not what the digest names."""
    actual = Digest.of(content, digest.algorithm)
    if actual != digest:
        raise DigestInvalid(f"the content is {actual}, not {digest}")
