"""A repository of a remote registry, as an End and beyond: see `ports/remote_registry.py`.

What each request means is in the modules of the nouns; here they are put together.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from entrepot.adapters.remotes import downloads, pages
from entrepot.adapters.remotes.endpoint import Endpoint
from entrepot.adapters.remotes.manifests import Manifests, delete
from entrepot.adapters.remotes.referrers import Referrers, subject_of
from entrepot.adapters.remotes.uploads import Uploads
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    DigestInvalid,
    ManifestInvalid,
    ManifestUnknown,
    RegistryError,
    Unsupported,
)
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.image_end import BlobContent, ImageSource, Sink
from entrepot.protocol.routes import blob_path
from entrepot.protocol.tag_parameters import MAX_TAGS

_LATEST: Final = Tag("latest")
_REFERRERS: Final = re.compile(r"sha(?:256|512)-[0-9a-f]{64}", re.ASCII)
_SHOWN_TAGS: Final = 20


@dataclass(frozen=True, slots=True)
class Parts:
    """What all views of one repository share."""

    endpoint: Endpoint
    manifests: Manifests
    referrers: Referrers
    uploads: Uploads


class HttpRepository:
    """A `RemoteRepository`. `reference` is what its address names."""

    def __init__(self, parts: Parts, reference: Tag | Digest | None = None) -> None:
        self._parts = parts
        self._reference = reference

    def __str__(self) -> str:
        return str(self._parts.endpoint)

    @property
    def host(self) -> str:
        """The registry, as `host[:port]`."""
        return self._parts.endpoint.host

    @property
    def name(self) -> RepositoryName:
        """The repository's name."""
        return self._parts.endpoint.name

    async def resolve(self, reference: Tag | Digest | None = None) -> Descriptor:
        """See `ImageSource.resolve`. What nobody has named is `latest`, or the only tag."""
        wanted = reference or self._reference
        try:
            return await self._parts.manifests.resolve(wanted or _LATEST)
        except ManifestUnknown as unknown:
            if isinstance(wanted, Digest):
                raise
            tags = await self._other_tags(unknown)
            if wanted is None and len(tags) == 1:
                return await self._parts.manifests.resolve(tags[0])
            raise self._no_such_tag(wanted or _LATEST, tags) from None

    async def head(self, reference: Tag | Digest) -> Descriptor:
        """See `RemoteRepository.head`."""
        return await self._parts.manifests.head(reference)

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """See `ImageSource.manifest`."""
        return await self._parts.manifests.read(descriptor)

    def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        """See `ImageSource.blob`."""
        return downloads.read_blob(self._parts.endpoint, descriptor, offset)

    async def pour(self, descriptor: Descriptor, offset: int, sink: Sink) -> None:
        """See `PoursBlobs.pour`."""
        await downloads.pour_blob(self._parts.endpoint, descriptor, offset, sink)

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> tuple[Descriptor, ...]:
        """See `ImageSource.referrers`."""
        return await self._parts.referrers.find(subject, artifact_type)

    async def tags(self) -> tuple[Tag, ...]:
        """See `ImageSource.tags`. Raise NameUnknown."""
        return await pages.list_tags(self._parts.endpoint)

    async def has_blob(self, descriptor: Descriptor) -> bool:
        """See `ImageTarget.has_blob`."""
        there = await downloads.has_blob(self._parts.endpoint, descriptor)
        if there:
            await self._parts.uploads.settle(descriptor.digest)
        return there

    async def has_manifest(self, descriptor: Descriptor) -> bool:
        """See `ImageTarget.has_manifest`."""
        return await self._parts.manifests.has(descriptor)

    async def mount(self, descriptor: Descriptor, source: ImageSource) -> bool:
        """See `CanMount.mount`. Only repositories of one registry can mount from each other."""
        if not isinstance(source, HttpRepository) or source.host != self.host:
            return False
        if source.name == self.name:
            return False
        return await self._parts.uploads.mount(descriptor.digest, source.name)

    async def put_blob(self, content: BlobContent) -> None:
        """See `ImageTarget.put_blob`."""
        await self._parts.uploads.put(content)

    async def put_manifest(self, descriptor: Descriptor, content: bytes) -> None:
        """See `ImageTarget.put_manifest`."""
        answer = await self._parts.manifests.put(descriptor.digest, descriptor, content)
        await self._parts.referrers.pushed(descriptor, content, answer)

    async def publish(self, root: Descriptor, content: bytes, tags: Sequence[Tag]) -> None:
        """See `ImageTarget.publish`."""
        manifests = self._parts.manifests
        if root.digest.algorithm != "sha256":
            # Under a tag alone the registry would choose the algorithm. One that knows others
            # knows tags beside the digest, too, and confirms them.
            answer = await manifests.put(root.digest, root, content, tags[:MAX_TAGS])
            confirmed = answer.headers.get("oci-tag", "").replace(",", " ").split()
            tags = [tag for tag in tags if tag not in confirmed]
        elif not tags:
            answer = await manifests.put(root.digest, root, content)
        for tag in tags:
            answer = await manifests.put(tag, root, content)
        await self._parts.referrers.pushed(root, content, answer)

    async def commit(self) -> None:
        """See `ImageTarget.commit`: a registry shows everything at once."""

    async def blob_size(self, digest: Digest) -> int:
        """See `RemoteRepository.blob_size`."""
        return await downloads.blob_size(self._parts.endpoint, digest)

    async def delete_manifest(self, digest: Digest) -> None:
        """See `RemoteRepository.delete_manifest`. It leaves the list under its subject's tag."""
        parts = self._parts
        subject = None
        if parts.referrers.fallback:
            # What cannot be read, damaged or too old, has to be deletable all the more.
            with suppress(DigestInvalid, ManifestInvalid, Unsupported):
                descriptor, content = await parts.manifests.get(digest)
                subject = subject_of(content, descriptor.media_type)
        await parts.manifests.delete(digest)
        if subject is not None:
            await parts.referrers.deleted(digest, subject)

    async def delete_tag(self, tag: Tag) -> None:
        """See `RemoteRepository.delete_tag`."""
        await self._parts.manifests.delete_tag(tag)

    async def delete_blob(self, digest: Digest) -> None:
        """See `RemoteRepository.delete_blob`."""
        endpoint = self._parts.endpoint
        await delete(endpoint, blob_path(endpoint.name, digest))

    async def _other_tags(self, unknown: ManifestUnknown) -> tuple[Tag, ...]:
        try:
            tags = await pages.some_tags(self._parts.endpoint)
        except RegistryError:  # may be pulled from, and not listed
            raise unknown from None
        return tuple(tag for tag in tags if not _REFERRERS.fullmatch(tag))

    def _no_such_tag(self, tag: Tag, others: Sequence[Tag]) -> ManifestUnknown:
        shown = ", ".join(others[:_SHOWN_TAGS]) + (", …" if len(others) > _SHOWN_TAGS else "")
        what = f"it has {shown}" if others else "it has none at all: name a digest, or push one"
        return ManifestUnknown(
            f"{self} has no tag {tag}; {what}",
            detail={"tags": list(others[:_SHOWN_TAGS])},
        )

    async def close(self) -> None:
        """Cancel uploads that were opened and not used; the registry stays open."""
        await self._parts.uploads.close()
