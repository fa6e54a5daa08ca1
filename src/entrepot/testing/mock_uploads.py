"""Uploads to the mock registry: started, fed in chunks, asked for, finished, cancelled, mounted.

Bytes that have come stay when the client breaks off, so it can go on from there.
Source: distribution-spec, "Pushing Blobs"; the `_state` in a Location is distribution's.
"""

import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from entrepot.oci.digest import Digest, Hasher
from entrepot.testing.mock_content import Received
from entrepot.testing.mock_exchange import Exchange, Reply, Request
from entrepot.testing.mock_store import MockStore

if TYPE_CHECKING:
    from entrepot.testing.mock_endpoints import Abilities

# Only the spec's own form: what HTTP would say here is a client's mistake.
_CHUNK: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,19})", re.ASCII)

_UNKNOWN: Final = Reply.of_error(404, "BLOB_UPLOAD_UNKNOWN")


@dataclass(slots=True)
class MockUpload:
    """An upload: what has come of it, and how often it has been answered."""

    name: str
    session: str
    content: Received = field(default_factory=Received)
    turn: int = 0

    @property
    def offset(self) -> int:
        """How many bytes have come."""
        return self.content.size


class Uploads:
    """The uploads that are open, by session."""

    def __init__(self, store: MockStore, abilities: "Abilities") -> None:
        self.open: dict[str, MockUpload] = {}
        self._store = store
        self._abilities = abilities
        self._received: list[Received] = []

    def close(self) -> None:
        """Give back all that was received."""
        for content in self._received:
            content.close()

    def lose(self, session: str) -> None:
        """Forget an upload, or all if empty."""
        if session:
            self.open.pop(session, None)
        else:
            self.open.clear()

    async def start(self, exchange: Exchange, name: str) -> Reply:
        """Start an upload; or mount a blob, or take one whole (end-4b, end-11)."""
        request, url = exchange.request, exchange.origin.url
        mounted = request.parameter("mount")
        if mounted and self._abilities.mount:
            digest = Digest.parse(mounted)
            source = request.parameter("from")
            if self._can_mount(source, digest):
                self._store.link(name, digest)
                return self._created(name, digest, url)
        upload = MockUpload(name, secrets.token_hex(16))
        self._received.append(upload.content)
        if request.parameter("digest") and self._abilities.single_post:
            await _receive(exchange, upload)
            return self._finish(request, upload, url)
        await exchange.read_all()
        self.open[upload.session] = upload
        reply = self._accepted(upload, 202, url)
        minimum = self._abilities.chunk_minimum
        return reply.but("OCI-Chunk-Min-Length", None if minimum is None else str(minimum))

    async def answer(self, exchange: Exchange, name: str, session: str) -> Reply:
        """Answer a request to an open upload."""
        request, url = exchange.request, exchange.origin.url
        upload = self.open.get(session)
        if upload is None or upload.name != name:
            return _UNKNOWN
        state = request.parameter("_state")
        if request.method == "GET":
            return self._accepted(upload, 204, url)
        if request.method == "DELETE":
            self.lose(session)
            return Reply.of(204)
        if request.method not in ("PATCH", "PUT"):
            return Reply.of_error(405, "UNSUPPORTED")
        if self._abilities.changing_locations and state != str(upload.turn):
            return Reply.of_error(400, "BLOB_UPLOAD_INVALID", "this Location is an old one")
        refused = self._check_range(request, upload, url)
        if refused is not None:
            return refused
        before = upload.offset
        await _receive(exchange, upload)
        if request.method == "PUT":
            return self._finish(request, upload, url)
        minimum = self._abilities.chunk_minimum
        if minimum is not None and upload.offset - before < minimum:
            return Reply.of_error(400, "BLOB_UPLOAD_INVALID", "the chunk is too small")
        return self._accepted(upload, 202, url)

    def _check_range(self, request: Request, upload: MockUpload, url: str) -> Reply | None:
        told = request.header("content-range")
        if told is None:
            return None
        chunk, length = _CHUNK.fullmatch(told), request.header("content-length")
        if chunk is None:
            return Reply.of_error(400, "BLOB_UPLOAD_INVALID", f"Content-Range is {told!r}")
        start, end = int(chunk[1]), int(chunk[2])
        if length not in (None, str(end - start + 1)):
            return Reply.of_error(400, "SIZE_INVALID", "Content-Length is another")
        return None if start == upload.offset else self._accepted(upload, 416, url)

    def _finish(self, request: Request, upload: MockUpload, url: str) -> Reply:
        self.open.pop(upload.session, None)
        digest = Digest.parse(request.parameter("digest") or "")
        hasher = Hasher(digest.algorithm)
        for at in range(0, upload.offset, 1 << 20):
            hasher.update(upload.content.read(at, 1 << 20))
        if hasher.digest() != digest:
            return Reply.of_error(400, "DIGEST_INVALID", "the bytes have another digest")
        self._store.link(upload.name, digest, upload.content)
        return self._created(upload.name, digest, url)

    def _can_mount(self, source: str | None, digest: Digest) -> bool:
        names = [source] if source else self._store.names()
        return any(self._store.is_linked(name, digest) for name in names)

    def _accepted(self, upload: MockUpload, status: int, url: str) -> Reply:
        upload.turn += self._abilities.changing_locations
        path = f"/v2/{upload.name}/blobs/uploads/{upload.session}"
        if self._abilities.changing_locations:
            path += f"?_state={upload.turn}"
        headers = {
            "Location": path if self._abilities.relative_locations else url + path,
            "Range": f"0-{max(upload.offset - 1, 0)}",
            "Docker-Upload-UUID": upload.session,
        }
        return Reply.of(status, b"", headers)

    def _created(self, name: str, digest: Digest, url: str) -> Reply:
        path = f"/v2/{name}/blobs/{digest}"
        headers = {
            "Location": path if self._abilities.relative_locations else url + path,
            "Docker-Content-Digest": str(digest),
        }
        return Reply.of(201, b"", headers)


async def _receive(exchange: Exchange, upload: MockUpload) -> None:
    while data := await exchange.read():
        upload.content.append(data)
