"""Ends: what images are copied between. A repository of a registry, an image layout, an archive
and our own store are each a source and a target, and `services/transfer` needs no more.

An image is copied bottom-up: blobs, manifests that others list, and last the root with its tags
(`publish`), so whoever finds a tag finds all of the image. A target never shows content that is
not whole: what a failed or killed transfer leaves is invisible, and where the target can, the
next transfer continues it.

Failures are errors of `entrepot.oci.errors`. An End proves itself against
`entrepot.testing.ImageEndSuite`.
"""

from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.reference import Tag

Sink = Callable[[memoryview], None]
"""Takes bytes that follow one another, in a thread and one piece at a time. It may block and
raise. The memory is the caller's again when it returns."""


class BlobContent(Protocol):
    """A blob on its way into a target, readable from any offset as often as needed."""

    @property
    def descriptor(self) -> Descriptor: ...

    def read(self, offset: int = 0, prefix: Hasher | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `offset` to the end in chunks (256 KiB to 1 MiB, mostly).

        After the last byte raise DigestInvalid or SizeInvalid unless the whole blob is what
        the descriptor says, so a target whose loop ends normally may commit. The bytes before
        `offset` count as hashed if an earlier `read` of this object passed them or `prefix`
        has hashed exactly them (it is then used up); otherwise only the size is checked here,
        and the target must verify the whole by itself.
        """
        ...


class ImageSource(Protocol):
    """An End to read from."""

    async def resolve(self, reference: Tag | Digest | None = None) -> Descriptor:
        """Return the descriptor (media type, digest, true size) of a manifest or index.

        None means what the End's address names: its tag or digest, else its only image. Raise
        ManifestUnknown (or NameUnknown) if there is none, with what is there in the message.
        """
        ...

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest's bytes, verified against the digest. Raise ManifestUnknown."""
        ...

    def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        """Yield a blob's bytes from `offset`, unverified, in chunks. Raise BlobUnknown.

        Broken connections are resumed inside; what is raised is final.
        """
        ...

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> Sequence[Descriptor]:
        """Return the manifests that name `subject`; none where there are none."""
        ...

    async def tags(self) -> Sequence[Tag]:
        """Return all tags in lexical order; none is no error."""
        ...

    async def close(self) -> None:
        """Give back files and connections."""
        ...


class ImageTarget(Protocol):
    """An End to write to. Writes of different blobs may run at the same time."""

    async def has_blob(self, descriptor: Descriptor) -> bool:
        """Say whether the whole blob is there already."""
        ...

    async def has_manifest(self, descriptor: Descriptor) -> bool:
        """Say whether the manifest is there already."""
        ...

    async def put_blob(self, content: BlobContent) -> None:
        """Store a blob, continuing what an earlier attempt has left where that is possible.

        Returns only when the blob is whole, verified and in place.
        """
        ...

    async def put_manifest(self, descriptor: Descriptor, content: bytes) -> None:
        """Store a manifest without naming it; what it refers to is there already."""
        ...

    async def publish(self, root: Descriptor, content: bytes, tags: Sequence[Tag]) -> None:
        """Store the root manifest and point the tags at it, or list it by digest without any.

        An End whose address names a tag adds nothing by itself: the caller passes its tags.
        """
        ...

    async def commit(self) -> None:
        """Make all that was published last: an archive gets its name now. Idempotent."""
        ...

    async def close(self) -> None:
        """Give back files and connections. An archive that was not committed has no name; what is
        kept of it, hidden, is for the next attempt to continue."""
        ...


@runtime_checkable
class CanMount(Protocol):
    """A target that may have a blob without its bytes being sent."""

    async def mount(self, descriptor: Descriptor, source: ImageSource) -> bool:
        """Link a blob that `source` holds, if that is possible; say whether it was done."""
        ...


@runtime_checkable
class PoursBlobs(ImageSource, Protocol):
    """A source whose large blobs go into a sink with less work than in chunks."""

    async def pour(self, descriptor: Descriptor, offset: int, sink: Sink) -> None:
        """Give a sink what `blob` would yield, and raise what that would, or what the sink
        raises. When it returns, also by cancellation, the sink is not called any more."""
        ...


@runtime_checkable
class PouredContent(BlobContent, Protocol):
    """Content that comes from such a source."""

    async def pour(self, sink: Sink, offset: int = 0, prefix: Hasher | None = None) -> None:
        """Give a sink what `read` would yield, verified in the same way."""
        ...


@runtime_checkable
class StoresBlobs(ImageSource, Protocol):
    """A source whose blobs are in files, which a thread reads with less work than the event
    loop."""

    def blocks(self, descriptor: Descriptor, offset: int) -> Generator[bytes, None, None]:
        """Yield what `blob` would, and raise what that would. It blocks; close it."""
        ...


@runtime_checkable
class StoredContent(BlobContent, Protocol):
    """Content that comes from such a source."""

    async def blocks(self, offset: int = 0) -> Generator[bytes, None, None]:
        """Return what yields the same as `read`, verified in the same way, to one thread."""
        ...


@runtime_checkable
class KnowsNames(Protocol):
    """A source whose images may belong to several repositories."""

    async def named(self) -> Mapping[str, Descriptor]:
        """Return the images that have a full name, `host/repository:tag`, by that name."""
        ...


@runtime_checkable
class TakesNames(Protocol):
    """A target whose images may belong to several repositories."""

    def under(self, repository: str | None) -> ImageTarget:
        """Return the same target for images of another repository; closing that does nothing."""
        ...
