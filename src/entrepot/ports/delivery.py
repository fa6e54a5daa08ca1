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
from typing import Final, Protocol

HELD_BACK: Final = 16 << 10
"""How many of the last bytes of a spool, and of a range of it, are not sent before the whole
content has been verified."""


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
    """A file that is still being written, readable as far as it has come."""

    @property
    def size(self) -> int:
        """How many bytes it will have in the end."""
        ...

    def open(self) -> int:
        """Return a new descriptor of the file, which the caller closes. It stays readable
        whatever becomes of the file's name."""
        ...

    async def available(self, beyond: int) -> int:
        """Return how many bytes from the file's start may be read, once more than `beyond`.

        The last HELD_BACK bytes are held back until the whole content has been verified: the last
        one is available only then. Raise Unavailable if the content cannot be had whole.
        """
        ...


@dataclass(frozen=True, slots=True)
class Follow:
    """`length` bytes of a spool from `offset`.

    The last bytes of the range, too, are held back until the whole content has been verified:
    nobody receives a wrong part whole.
    """

    spool: Spool
    offset: int
    length: int

    async def available(self, beyond: int) -> int:
        """Return how many bytes from the file's start may be sent, once more than `beyond`, and
        never more than up to the range's end. Raise what the spool does."""
        end = self.offset + self.length
        safe = end - min(self.length, HELD_BACK)
        if beyond < safe:
            return min(await self.spool.available(beyond), safe)
        # The content's last byte is there only when all of them are right.
        await self.spool.available(self.spool.size - 1)
        return end


@dataclass(frozen=True, slots=True)
class Redirect:
    """The same bytes stand at `url`; the client fetches them there."""

    url: str


Delivery = Inline | File | Stream | Follow | Redirect
