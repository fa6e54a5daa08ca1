"""Downloads: blobs read from a remote repository, resumed wherever the connection broke.

The bytes are not verified here; their number is.
Source: distribution-spec, "Pulling blobs", "Checking if content exists"; RFC 9110, section 14.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from entrepot.adapters.remotes.endpoint import PULL, PUSH, Answer, Endpoint, Streak
from entrepot.adapters.remotes.exchange import Request, Response
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, ConnectionLost, SizeInvalid, Unsupported
from entrepot.ports.image_end import Sink
from entrepot.protocol.routes import blob_path

IDENTITY: Final = {"Accept-Encoding": "identity"}
"""What a blob is asked for with: its own bytes, not compressed on the way."""

_BULK: Final = 1024 * 1024
"""Bytes above which a download is worth a connection of its own."""

_HEAD_REFUSED: Final = frozenset({400, 401, 403, 404, 405, 406, 415, 501})
_CONTENT_RANGE: Final = re.compile(
    r"\s*bytes[ =](?:([0-9]{1,19})-([0-9]{1,19})|\*)/([0-9]{1,19}|\*)\s*", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which bytes an answer holds: from `start` up to before `end`, of `size` in all.

    None is what the answer leaves open: both bounds with status 416, the size for `*`.
    """

    start: int | None
    end: int | None
    size: int | None


def parse_content_range(field: str | None) -> ContentRange | None:
    """Read the Content-Range of an answer; None if it is missing or malformed."""
    match = _CONTENT_RANGE.fullmatch(field or "")
    if match is None:
        return None
    size = None if match[3] == "*" else int(match[3])
    if match[1] is None:
        return ContentRange(None, None, size)
    start, end = int(match[1]), int(match[2]) + 1
    return ContentRange(start, end, size) if start < end else None


class _RangesIgnored(Exception):
    """The registry cannot be asked for a part of this blob; it must be read from its start."""


class _Download:
    """One blob being read: how far it is, and whether ranges work.

    What breaks off in its body is continued. (When there is no answer at all, the session has
    repeated the request as often as it is worth.)
    """

    def __init__(self, endpoint: Endpoint, descriptor: Descriptor, offset: int) -> None:
        self._endpoint = endpoint
        self._descriptor = descriptor
        self.offset = offset
        self._ranges = True
        self._skip = 0
        self._streak = Streak(endpoint.retries)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield what follows, over as many requests as that takes."""
        while True:
            lost: ConnectionLost | None = None
            async with self._answer() as response:
                try:
                    async for chunk in response.chunks():
                        if fresh := self._fresh(memoryview(chunk)):
                            yield chunk if len(fresh) == len(chunk) else bytes(fresh)
                except ConnectionLost as error:
                    lost = error
            if await self._is_done(lost):
                return

    async def pour(self, sink: Sink) -> None:
        """Give a sink what follows, over as many requests as that takes."""

        def take(piece: memoryview) -> None:
            if fresh := self._fresh(piece):
                sink(fresh)

        while True:
            lost: ConnectionLost | None = None
            async with self._answer() as response:
                try:
                    await response.pour(take)
                except ConnectionLost as error:
                    lost = error
            if await self._is_done(lost):
                return

    @asynccontextmanager
    async def _answer(self) -> AsyncIterator[Response]:
        """Ask for what follows, or for everything where that cannot be had."""
        path = blob_path(self._endpoint.name, self._descriptor.digest)
        bulk = self._descriptor.size - self.offset > _BULK
        while True:
            ranged = self._ranges and self.offset > 0
            headers = {**IDENTITY, "Range": f"bytes={self.offset}-"} if ranged else IDENTITY
            request = Request("GET", path, headers, bulk=bulk)
            async with self._endpoint.send(request, PULL, expect=(404, 416)) as response:
                try:
                    self._skip = self._skipped(response, ranged)
                except _RangesIgnored:
                    if not self._ranges:
                        raise SizeInvalid(
                            self._says("cannot be continued where it broke off, nor read anew")
                        ) from None
                    self._ranges = False
                    continue
                yield response
                return

    def _fresh(self, piece: memoryview) -> memoryview:
        """Return what of a piece was not read before, and count it."""
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        fresh = piece[skipped:]
        if fresh:
            if self.offset + len(fresh) > self._descriptor.size:
                raise self._wrong_size("more")
            self.offset += len(fresh)
            self._streak.progressed()
        return fresh

    async def _is_done(self, lost: ConnectionLost | None) -> bool:
        """Say whether all has come, else wait before the next request. Raise what failed if
        there is to be none."""
        size = self._descriptor.size
        if lost is None and self.offset == size:
            return True
        short = SizeInvalid(self._says(f"ends after {self.offset} of {size} bytes"))
        await self._streak.failed(lost or short)
        return False

    def _skipped(self, response: Response, ranged: bool) -> int:
        """Return how many bytes of an answer were read before."""
        size = self._descriptor.size
        part = parse_content_range(response.headers.get("content-range"))
        match response.status:
            case 404:
                raise unknown_blob(self._endpoint, self._descriptor.digest)
            case 416:
                if part and part.size is not None and part.size != size:
                    raise self._wrong_size(str(part.size))
                raise _RangesIgnored
            case 206:
                if part is None or part.end is None or part.end > size:
                    raise _RangesIgnored
                if part.size not in (None, size):
                    raise self._wrong_size(str(part.size))
                if part.start != (self.offset if ranged else 0):
                    raise _RangesIgnored
                return 0 if ranged else self.offset
            case _:
                length = response.headers.get("content-length", "")
                if length.isascii() and length.isdigit() and int(length) != size:
                    raise self._wrong_size(length)
                return self.offset

    def _wrong_size(self, found: str) -> SizeInvalid:
        return SizeInvalid(
            self._says(f"has {found} bytes there, but its descriptor says {self._descriptor.size}"),
            detail={"expected": self._descriptor.size, "received": found},
        )

    def _says(self, problem: str) -> str:
        return (
            f"the blob {self._descriptor.digest} of {self._endpoint} {problem}; if it happens "
            "again, the copy there is damaged and must be pushed anew"
        )


def read_blob(endpoint: Endpoint, descriptor: Descriptor, offset: int) -> AsyncIterator[bytes]:
    """Yield a blob's bytes from `offset`, exactly as many as the descriptor says.

    Raise BlobUnknown, SizeInvalid if it has another size, ConnectionLost after too many broken
    connections in a row. The `urls` of layers that registries do not hold are not followed.
    """
    return (
        _Download(endpoint, descriptor, offset).chunks()
        if descriptor.size > offset
        else _none(endpoint, descriptor, offset)
    )


async def pour_blob(endpoint: Endpoint, descriptor: Descriptor, offset: int, sink: Sink) -> None:
    """Give a sink what `read_blob` yields, and raise what that raises or the sink."""
    if descriptor.size > offset:
        await _Download(endpoint, descriptor, offset).pour(sink)
    else:
        async for _ in _none(endpoint, descriptor, offset):
            pass


async def _none(endpoint: Endpoint, descriptor: Descriptor, offset: int) -> AsyncIterator[bytes]:
    """Yield nothing: of an empty blob, or behind the last byte."""
    if offset == 0 and await blob_size(endpoint, descriptor.digest) != 0:
        raise SizeInvalid(
            f"the blob {descriptor.digest} of {endpoint} is not empty, but its descriptor says so"
        )
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk


async def blob_size(endpoint: Endpoint, digest: Digest) -> int:
    """Return a blob's size in bytes, by HEAD or else by asking for its first byte.

    Raise BlobUnknown.
    """
    path = blob_path(endpoint.name, digest)
    answer = await endpoint.ask("HEAD", path, PULL, headers=IDENTITY, expect=_HEAD_REFUSED)
    size = _told_size(answer)
    if size is None:
        size = await _probed_size(endpoint, digest, PULL)
    if size is None:
        raise unknown_blob(endpoint, digest)
    return size


async def has_blob(endpoint: Endpoint, descriptor: Descriptor) -> bool:
    """Say whether a blob is there, as large as it must be."""
    path = blob_path(endpoint.name, descriptor.digest)
    answer = await endpoint.ask("HEAD", path, PUSH, headers=IDENTITY, expect=_HEAD_REFUSED)
    if answer.status == 404:
        return False
    if answer.successful and "content-length" not in answer.headers:
        return True
    size = _told_size(answer)
    if size is None:
        size = await _probed_size(endpoint, descriptor.digest, PUSH)
    # Registries have been seen to keep empty stubs; pushing again mends those.
    return size == descriptor.size


def _told_size(answer: Answer) -> int | None:
    length = answer.headers.get("content-length", "")
    return int(length) if answer.successful and length.isascii() and length.isdigit() else None


async def _probed_size(endpoint: Endpoint, digest: Digest, actions: tuple[str, ...]) -> int | None:
    """Return the size that a GET of the first byte tells, None if the blob is unknown."""
    request = Request("GET", blob_path(endpoint.name, digest), {**IDENTITY, "Range": "bytes=0-0"})
    async with endpoint.send(request, actions, expect=(404, 416)) as response:
        if response.status == 404:
            return None
        part = parse_content_range(response.headers.get("content-range"))
        if part is not None and part.size is not None:
            return part.size
        length = response.headers.get("content-length", "")
        if response.status == 200 and length.isascii() and length.isdigit():
            return int(length)
    if response.status == 416:  # no byte can be had of an empty blob
        return 0
    raise Unsupported(f"{endpoint.host} does not tell the size of a blob; read it to find out")


def unknown_blob(endpoint: Endpoint, digest: Digest) -> BlobUnknown:
    """Return the error for a blob that is not there."""
    return BlobUnknown(
        f"{endpoint} has no blob {digest}; if an image there refers to it, the image is not "
        "whole and must be pushed again",
        detail={"digest": str(digest)},
    )
