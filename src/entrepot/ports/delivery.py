"""Deliveries: what a read yields. A service decides what is read and who may read it;
the face picks the cheapest way its server has to send it.

    Inline    bytes already in memory (a manifest, a small blob)
    File      a range of a file on this machine: kernel sendfile, or nginx X-Accel-Redirect
    Follow    a spool that is still being written: a reader behind the writer
    Stream    chunks from anywhere else
    Redirect  a URL that serves the same bytes (presigned object storage)
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Inline:
    """Bytes that are already in memory."""

    content: bytes

    @property
    def length(self) -> int:
        return len(self.content)


@dataclass(frozen=True, slots=True)
class File:
    """`length` bytes of the file at `path`, from `offset` (both in bytes)."""

    path: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Stream:
    """`length` bytes that arrive chunk by chunk; None when the length is not known."""

    chunks: AsyncIterator[bytes]
    length: int | None


class Spool(Protocol):
    """Content that is still arriving, readable while it grows."""

    def read(self, offset: int, length: int) -> AsyncIterator[bytes]:
        """Yield `length` bytes from `offset`, waiting for the writer where needed.

        Raise Unavailable if the writer fails before they have arrived.
        """
        ...


@dataclass(frozen=True, slots=True)
class Follow:
    """`length` bytes of a spool from `offset`."""

    spool: Spool
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Redirect:
    """The same bytes stand at `url`; the client fetches them there."""

    url: str


Delivery = Inline | File | Stream | Follow | Redirect
