"""The fake End: a repository in memory, for tests of what copies images."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import BlobUnknown, DigestInvalid, ManifestUnknown, SizeInvalid
from entrepot.oci.manifest import parse_manifest
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import BlobContent, ImageSource

_CHUNK: Final = 1 << 18


@dataclass(slots=True, eq=False)
class MemoryImages:
    """What a MemoryEnd holds; several Ends may share it. `partial` is what broke off."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)
    manifests: dict[Digest, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[Tag, Digest] = field(default_factory=dict)
    roots: dict[Digest, None] = field(default_factory=dict)
    partial: dict[Digest, bytearray] = field(default_factory=dict)


class MemoryEnd:
    """See the port: a source and a target that can mount from its like and continues blobs.

    `calls` counts the calls by name and digest or tag, for tests of who calls what how often;
    `received` is how many bytes of blobs came in.
    """

    def __init__(
        self, images: MemoryImages | None = None, reference: Tag | Digest | None = None
    ) -> None:
        self.images = images or MemoryImages()
        self.reference = reference
        self.calls: Counter[tuple[str, str]] = Counter()
        self.received = 0
        self.committed = self.closed = False

    async def resolve(self, reference: Tag | Digest | None = None) -> Descriptor:
        wanted = reference or self.reference
        self.calls["resolve", str(wanted)] += 1
        if wanted is None:
            named = dict.fromkeys(self.images.tags.values()) or self.images.roots
            if len(named) != 1:
                raise ManifestUnknown(f"name one of these: {', '.join(self._names())}")
            (digest,) = named
        else:
            digest = wanted if isinstance(wanted, Digest) else self._tagged(wanted)
        media_type, content = self._manifest(digest)
        return Descriptor(media_type, digest, len(content))

    async def manifest(self, descriptor: Descriptor) -> bytes:
        self.calls["manifest", str(descriptor.digest)] += 1
        return self._manifest(descriptor.digest)[1]

    async def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        self.calls["blob", str(descriptor.digest)] += 1
        content = self.images.blobs.get(descriptor.digest)
        if content is None:
            raise BlobUnknown(f"there is no blob {descriptor.digest} here")
        for at in range(offset, len(content), _CHUNK):
            yield content[at : at + _CHUNK]

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> Sequence[Descriptor]:
        found = []
        for digest, (media_type, content) in sorted(self.images.manifests.items()):
            read = parse_manifest(content, media_type)
            if read.subject is None or read.subject.digest != subject:
                continue
            if artifact_type in (None, read.artifact_type):
                referrer = Descriptor(media_type, digest, len(content), read.annotations)
                found.append(replace(referrer, artifact_type=read.artifact_type))
        return found

    async def tags(self) -> Sequence[Tag]:
        return sorted(self.images.tags)

    async def has_blob(self, descriptor: Descriptor) -> bool:
        self.calls["has_blob", str(descriptor.digest)] += 1
        return descriptor.digest in self.images.blobs

    async def has_manifest(self, descriptor: Descriptor) -> bool:
        self.calls["has_manifest", str(descriptor.digest)] += 1
        return descriptor.digest in self.images.manifests

    async def put_blob(self, content: BlobContent) -> None:
        digest = content.descriptor.digest
        self.calls["put_blob", str(digest)] += 1
        partial = self.images.partial.pop(digest, bytearray())
        try:
            await self._receive(content, partial)
        except (DigestInvalid, SizeInvalid):
            if not partial:
                raise
            # What an earlier attempt left was no part of the blob.
            await self._receive(content, bytearray())

    async def put_manifest(self, descriptor: Descriptor, content: bytes) -> None:
        self.calls["put_manifest", str(descriptor.digest)] += 1
        if Digest.of(content, descriptor.digest.algorithm) != descriptor.digest:
            raise DigestInvalid(f"the manifest is not {descriptor.digest}; send it anew")
        self.images.manifests[descriptor.digest] = descriptor.media_type, content

    async def publish(self, root: Descriptor, content: bytes, tags: Sequence[Tag]) -> None:
        self.calls["publish", str(root.digest)] += 1
        await self.put_manifest(root, content)
        self.images.roots[root.digest] = None
        self.images.tags |= dict.fromkeys(tags, root.digest)

    async def mount(self, descriptor: Descriptor, source: ImageSource) -> bool:
        self.calls["mount", str(descriptor.digest)] += 1
        held = source.images.blobs if isinstance(source, MemoryEnd) else {}
        if descriptor.digest not in held:
            return False
        self.images.blobs[descriptor.digest] = held[descriptor.digest]
        return True

    async def commit(self) -> None:
        self.committed = True

    async def close(self) -> None:
        self.closed = True

    async def _receive(self, content: BlobContent, received: bytearray) -> None:
        digest = content.descriptor.digest
        hasher = Hasher(digest.algorithm)
        hasher.update(received)
        received = bytearray(received)
        try:
            async for chunk in content.read(len(received), hasher):
                received += chunk
                self.received += len(chunk)
        except (DigestInvalid, SizeInvalid):
            raise
        except BaseException:
            self.images.partial[digest] = received
            raise
        self.images.blobs[digest] = bytes(received)

    def _manifest(self, digest: Digest) -> tuple[str, bytes]:
        try:
            return self.images.manifests[digest]
        except KeyError:
            raise ManifestUnknown(f"there is no manifest {digest} here") from None

    def _tagged(self, tag: Tag) -> Digest:
        try:
            return self.images.tags[tag]
        except KeyError:
            raise ManifestUnknown(
                f"there is no tag {tag} here; there are {', '.join(self._names()) or 'none'}"
            ) from None

    def _names(self) -> list[str]:
        untagged = self.images.roots.keys() - set(self.images.tags.values())
        return [*sorted(self.images.tags), *map(str, sorted(untagged))]
