"""The content store: bytes under their digest, and uploads that are not yet visible.

Lifecycle words are containerd's: an *ingest* is an upload's bytes on their way in; `commit`
makes them content. The store knows digests and ingest ids, never repositories or tags:
who may read what is the metadata store's truth.

Content and the metadata that links it are written one after the other, so what collects garbage
could remove bytes that a push has just found here and is about to link. The store prevents it
by keeping when content was last *used*: `commit` and `put` use it, also where it was there
already. Who collects keeps this order:

1. take `cut = now - COMMIT_GRACE`;
2. delete the content's row in a metadata transaction that finds no link to it (or see that
   there is no row);
3. `delete(digest, unused_since=cut)`.

A push commits its metadata within COMMIT_GRACE of the use. If it did so before step 2, the link
is seen there; if after, its use came after the cut and is seen in step 3. Either way the bytes
stay. What step 3 has kept and nobody has linked is found again by enumeration.

A driver proves itself against `entrepot.testing.ContentStoreSuite`.
"""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Final, Protocol, runtime_checkable

from entrepot.oci.digest import Digest
from entrepot.ports.delivery import Delivery

COMMIT_GRACE: Final = 3600.0
"""Seconds for which content that was used is safe from collection: far more than a metadata
transaction takes, with all its waiting, and than the clocks of several machines differ."""


class Ingest(Protocol):
    """The bytes of one upload, addressed by the upload's id; invisible until committed.

    At most one append or commit runs at a time, over all processes that share the store;
    the second raises UploadBusy. Every method raises BlobUploadUnknown once the ingest has
    been committed or aborted, and StoreFull when no space is left (what had been stored
    before the failed append stays, and can be resumed).
    """

    async def offset(self) -> int:
        """Return the number of bytes stored so far, also those of an append cut short."""
        ...

    async def append(self, chunks: AsyncIterable[bytes], *, at: int | None = None) -> int:
        """Store chunks behind what is there, hashing them on the way; return the new offset.

        Memory is constant: the source is read no faster than bytes are stored. With `at`,
        raise UploadOutOfOrder (carrying the offset) unless it equals the present offset;
        this is checked under the same lock as the write. If the source raises, what arrived
        before stays stored and the error goes on to the caller.
        """
        ...

    async def commit(self, digest: Digest, *, at: int | None = None) -> int:
        """Verify the bytes against `digest`, make them content, and return their size.

        With `at`, raise UploadOutOfOrder, as `append` does, unless so many bytes are stored:
        then another request has added some, and the ingest stays open. Raise DigestInvalid if
        the bytes differ (the ingest is then gone: those bytes are useless). When the content
        exists already the ingest is dropped and the content kept; both are a use of it.
        A crash at any point leaves either the open ingest or whole content, never a part.
        """
        ...

    async def abort(self) -> None:
        """Drop the bytes. An append or commit that is under way ends with BlobUploadUnknown."""
        ...


class ContentStore(Protocol):
    """Content by digest. Content is immutable: the same digest is always the same bytes."""

    async def size(self, digest: Digest) -> int:
        """Return the content's size in bytes. Raise BlobUnknown if absent."""
        ...

    async def open(self, digest: Digest, offset: int = 0, length: int | None = None) -> Delivery:
        """Return a delivery of `length` bytes from `offset` (to the end by default).

        The caller has checked the range against `size`. Raise BlobUnknown if absent.
        """
        ...

    async def read(self, digest: Digest, limit: int) -> bytes:
        """Return small content whole. Raise BlobUnknown if absent, SizeInvalid above `limit`."""
        ...

    async def put(self, digest: Digest, content: bytes) -> None:
        """Store small content (a manifest) whole, which is a use of it also if it is there.

        Raise DigestInvalid if it does not match.
        """
        ...

    async def delete(self, digest: Digest, *, unused_since: float | None = None) -> bool:
        """Remove content; return whether it was. Raise BlobUnknown if absent.

        With `unused_since` (Unix seconds), keep what has been used at or after that time; looking
        and removing are one step, which no `commit` or `put` comes between. Deliveries already
        opened stay readable.
        """
        ...

    async def ingest(
        self, upload: str, *, algorithm: str = "sha256", create: bool = False
    ) -> Ingest:
        """Return the ingest of an upload id (`[0-9a-zA-Z_-]{1,64}`).

        With `create`, start it empty, to be hashed with `algorithm`; raise BlobUploadInvalid if
        the id is malformed or in use, DigestInvalid if the algorithm is not supported.
        Otherwise raise BlobUploadUnknown if there is none.
        """
        ...

    async def close(self) -> None:
        """Give back threads and memory. Running operations end first."""
        ...


@runtime_checkable
class CanPing(Protocol):
    """A store that can tell whether it works."""

    async def ping(self) -> None:
        """Return if content can be read and stored. Raise Unavailable if not."""
        ...


@runtime_checkable
class CanEnumerate(Protocol):
    """A store whose content and ingests can be listed, for scrubbing and housekeeping."""

    def digests(self) -> AsyncIterator[Digest]:
        """Yield every digest held, in no particular order."""
        ...

    def ingests(self) -> AsyncIterator[tuple[str, float]]:
        """Yield (upload id, time of the last write in Unix seconds) of every open ingest."""
        ...


@runtime_checkable
class CanWithdraw(Protocol):
    """An ingest whose commit can be undone, so that a push the metadata store has no room for
    takes none here."""

    async def withdraw(self) -> None:
        """Remove the content that this ingest's commit brought.

        Nothing happens if it brought none, or if a later commit or put has used the content.
        """
        ...


@runtime_checkable
class CanStamp(Protocol):
    """A store that can tell whether a file was changed behind its back."""

    async def stamp(self, digest: Digest) -> str:
        """Return a text that changes whenever the content's file is written to or replaced by
        anybody. Raise BlobUnknown."""
        ...
