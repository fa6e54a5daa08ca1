"""Blobs on their way into an End, made for tests: whole, wrong, breaking off, stalled, generated;
and the short ways to fill an End and to read it out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import ConnectionLost, DigestInvalid, SizeInvalid
from entrepot.oci.manifest import Index, parse_manifest
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import ImageSource, ImageTarget
from entrepot.testing.example_images import ExampleImage

KIB: Final = 1 << 10
MIB: Final = 1 << 20


class Place(Protocol):
    """Where an End lives. It can be opened as often as wanted; what was written stays."""

    async def source(self, reference: Tag | Digest | None = None) -> ImageSource:
        """Open it to read; `reference` is what its address names."""
        ...

    async def target(self) -> ImageTarget:
        """Open it to write."""
        ...


Chunks = Callable[[], Iterable[bytes]]
"""A blob's bytes from the first, chunk by chunk, as often as needed."""


class ScriptedContent:
    """See `entrepot.ports.image_end.BlobContent`. What comes is `chunks`, whatever `descriptor`
    says; after `breaks_at` bytes the source is lost, at `stalls_at` bytes it waits for
    `resume`.

    `offsets` holds where every `read` began, `reached` is set when it stalls. What stands before
    an offset and was not hashed by the reader is not verified, as the contract allows.
    """

    def __init__(
        self,
        descriptor: Descriptor,
        chunks: Chunks,
        *,
        breaks_at: int | None = None,
        stalls_at: int | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._chunks = chunks
        self.breaks_at = breaks_at
        self.stalls_at = stalls_at
        self.offsets: list[int] = []
        self.reached = asyncio.Event()
        self._resumed = asyncio.Event()

    @property
    def descriptor(self) -> Descriptor:
        return self._descriptor

    def resume(self) -> None:
        """Let a stalled source go on."""
        self._resumed.set()

    async def read(self, offset: int = 0, prefix: Hasher | None = None) -> AsyncIterator[bytes]:
        self.offsets.append(offset)
        wanted = self._descriptor.digest
        hasher = prefix if prefix is not None else Hasher(wanted.algorithm)
        hashed = offset
        at = 0
        for chunk in self._chunks():
            for piece in self._pieces(chunk, at):
                await self._trouble(at)
                start, at = at, at + len(piece)
                if hashed < at:
                    hasher.update(piece[max(hashed - start, 0) :])
                    hashed = at
                if offset < at or not piece:
                    yield piece[max(offset - start, 0) :]
                await asyncio.sleep(0)
        await self._trouble(at)
        if at != self._descriptor.size:
            raise SizeInvalid(f"the blob has {at} bytes, not {self._descriptor.size}; send it anew")
        if (offset == 0 or prefix is not None) and hasher.digest() != wanted:
            raise DigestInvalid(f"the blob is {hasher.digest()}, not {wanted}; send it anew")

    def _pieces(self, chunk: bytes, at: int) -> Iterator[bytes]:
        """Cut a chunk where something happens."""
        for cut in sorted(cut for cut in (self.breaks_at, self.stalls_at) if cut is not None):
            if at < cut < at + len(chunk):
                yield chunk[: cut - at]
                chunk, at = chunk[cut - at :], cut
        yield chunk

    async def _trouble(self, at: int) -> None:
        if at == self.stalls_at and not self._resumed.is_set():
            self.reached.set()
            await self._resumed.wait()
        if self.breaks_at is not None and at >= self.breaks_at:
            raise ConnectionLost("the source was lost; try again")


def blob(
    content: bytes,
    descriptor: Descriptor | None = None,
    *,
    chunk: int = 256 * KIB,
    breaks_at: int | None = None,
    stalls_at: int | None = None,
) -> ScriptedContent:
    """Return bytes on their way, which are what `descriptor` says unless it is another's."""
    actual = descriptor or Descriptor("application/octet-stream", Digest.of(content), len(content))
    return ScriptedContent(
        actual,
        lambda: (content[at : at + chunk] for at in range(0, len(content), chunk)),
        breaks_at=breaks_at,
        stalls_at=stalls_at,
    )


def generated(blocks: int) -> ScriptedContent:
    """Return `blocks` MiB on their way, no two alike and never in memory together."""
    body = bytes(MIB - 8)

    def chunks() -> Iterator[bytes]:
        for number in range(blocks):
            yield number.to_bytes(8, "big") + body

    hasher = Hasher()
    for chunk in chunks():
        hasher.update(chunk)
    descriptor = Descriptor("application/octet-stream", hasher.digest(), blocks * MIB)
    return ScriptedContent(descriptor, chunks)


@asynccontextmanager
async def reading(
    place: Place, reference: Tag | Digest | None = None
) -> AsyncIterator[ImageSource]:
    """Open an End to read, and close it."""
    source = await place.source(reference)
    try:
        yield source
    finally:
        await source.close()


@asynccontextmanager
async def writing(place: Place) -> AsyncIterator[ImageTarget]:
    """Open an End to write, and close it, without a commit."""
    target = await place.target()
    try:
        yield target
    finally:
        await target.close()


async def fill(target: ImageTarget, example: ExampleImage, *tags: str) -> None:
    """Write an image and publish it under the tags; nothing is committed."""
    for descriptor, content in example.blobs.items():
        await target.put_blob(blob(content, descriptor))
    for descriptor, content in example.manifests.items():
        if descriptor != example.root:
            await target.put_manifest(descriptor, content)
    await target.publish(example.root, example.content, [Tag.parse(tag) for tag in tags])


async def store(place: Place, example: ExampleImage, *tags: str) -> None:
    """Write an image, publish it and commit."""
    async with writing(place) as target:
        await fill(target, example, *tags)
        await target.commit()


async def blob_of(source: ImageSource, descriptor: Descriptor, offset: int = 0) -> bytes:
    """Read a blob whole, or from an offset."""
    return b"".join([chunk async for chunk in source.blob(descriptor, offset)])


async def contents(source: ImageSource, root: Descriptor) -> dict[Digest, bytes]:
    """Read an image graph: every manifest and blob by its digest."""
    content = await source.manifest(root)
    found = {root.digest: content}
    parsed = parse_manifest(content, root.media_type)
    if isinstance(parsed, Index):
        for child in parsed.manifests:
            found |= await contents(source, child)
        return found
    for descriptor in (parsed.config, *parsed.layers):
        found[descriptor.digest] = await blob_of(source, descriptor)
    return found


def expected(example: ExampleImage) -> dict[Digest, bytes]:
    """Return what `contents` must find."""
    both: Sequence[tuple[Descriptor, bytes]] = [*example.manifests.items(), *example.blobs.items()]
    return {descriptor.digest: content for descriptor, content in both}
