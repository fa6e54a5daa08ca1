"""The End `docker-archive:FILE` to read: what docker, podman, skopeo and we save."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Self

from entrepot.adapters.ends.archive_input import open_archive
from entrepot.adapters.ends.block_reading import Region, blocks
from entrepot.adapters.ends.docker_image import (
    ArchivedImage,
    DescribedImage,
    ImageReader,
    normal_name,
    read_table,
)
from entrepot.adapters.ends.layout_source import MAX_MANIFEST, LayoutReader, blob_name
from entrepot.adapters.ends.tar_reading import TarFiles
from entrepot.adapters.ends.thread_work import stoppable
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, ManifestUnknown, NameInvalid
from entrepot.oci.reference import Tag

_LATEST: Final = Tag("latest")
_MOST_SHOWN: Final = 20


class DockerArchiveSource:
    """See the port: an ImageSource.

    `repository` (with its host, if any) and `reference` are what the address names; without a
    repository a tag may be of any. An image whose manifest has to be made is read once, when it
    is first resolved.
    """

    def __init__(
        self,
        files: TarFiles,
        repository: str | None = None,
        reference: Tag | Digest | None = None,
        *,
        max_manifest_size: int = MAX_MANIFEST,
    ) -> None:
        """Take an opened archive. Raise ContentInvalid, or NameInvalid for the repository."""
        self._files = files
        self._images = read_table(files)
        self._repository = _normal(repository)
        self._reference = reference
        self._layout = LayoutReader(files, max_manifest_size)
        self._reader = ImageReader(files, self._layout)
        self._described: dict[ArchivedImage, DescribedImage] = {}
        self._lock = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        path: str,
        repository: str | None = None,
        reference: Tag | Digest | None = None,
        *,
        max_manifest_size: int = MAX_MANIFEST,
    ) -> Self:
        """Open a file, or standard input (`-`). Raise what `open_archive` raises."""
        files = await open_archive(path)
        try:
            return cls(files, repository, reference, max_manifest_size=max_manifest_size)
        except BaseException:
            files.close()
            raise

    async def resolve(self, reference: Tag | Digest | None = None) -> Descriptor:
        wanted = reference or self._reference
        if isinstance(wanted, Digest):
            return await self._of_digest(wanted)
        return (await self._describe(self._find(wanted))).root

    async def manifest(self, descriptor: Descriptor) -> bytes:
        for image in self._images:
            described = await self._describe(image)
            if described.root.digest == descriptor.digest:
                return described.content
        return await asyncio.to_thread(self._layout.manifest, descriptor)

    async def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        async for block in blocks(await self._region(descriptor.digest), offset):
            yield block

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> Sequence[Descriptor]:
        if self._files.find("index.json") is None:
            return ()
        return await asyncio.to_thread(self._layout.referrers, subject, artifact_type)

    async def tags(self) -> Sequence[Tag]:
        return sorted({tag for image in self._images for tag in image.tags(self._repository)})

    async def named(self) -> Mapping[str, Descriptor]:
        """See `ports.image_end.KnowsNames`."""
        return {
            f"{repository}:{tag}": (await self._describe(image)).root
            for image in self._images
            for repository, tag in map(_read_name, image.names)
            if tag
        }

    async def close(self) -> None:
        self._files.close()

    def _find(self, wanted: Tag | None) -> ArchivedImage:
        """Return the image with this tag, or without one the only image, or `latest`."""
        images = list(dict.fromkeys(self._images))
        if self._repository is not None:
            images = [image for image in images if any(image.tags(self._repository))]
        tag = _LATEST if wanted is None and self._repository and len(images) > 1 else wanted
        if tag is not None:
            images = [image for image in images if tag in image.tags(self._repository)]
        if len(images) == 1:
            return images[0]
        what = f"image {self._repository or ''}{f':{tag}' if tag else ''}".rstrip()
        problem = f"several images that are meant by {what!r}" if images else f"no {what}"
        raise ManifestUnknown(
            f"{self._files.where} holds {problem}; name one: {self._what_is_there()}",
            detail={"tag": tag or ""},
        )

    async def _of_digest(self, digest: Digest) -> Descriptor:
        for image in self._images:
            described = await self._describe(image)
            if described.root.digest == digest:
                return described.root
        if self._files.find("index.json") is not None:
            return await asyncio.to_thread(self._layout.resolve, digest)
        raise ManifestUnknown(
            f"{self._files.where} holds no manifest {digest}; {self._what_is_there()}",
            detail={"digest": str(digest)},
        )

    async def _describe(self, image: ArchivedImage) -> DescribedImage:
        async with self._lock:
            if image not in self._described:
                self._described[image] = await stoppable(
                    lambda stop: self._reader.describe(image, stop)
                )
            return self._described[image]

    async def _region(self, digest: Digest) -> Region:
        names = (known.blobs[digest] for known in self._described.values() if digest in known.blobs)
        region = self._files.open(next(names, blob_name(digest)))
        if region is None and len(self._described) < len(set(self._images)):
            for image in self._images:
                await self._describe(image)
            return await self._region(digest)
        if region is None:
            raise BlobUnknown(
                f"{self._files.where} holds no blob {digest}; name the image it is part of",
                detail={"digest": str(digest)},
            )
        return region

    def _what_is_there(self) -> str:
        names = sorted(name for image in self._images for name in image.names)
        if not names:
            return f"there are {len(self._images)} images without a name"
        more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
        return f"there are {', '.join(names[:_MOST_SHOWN])}{more}"


def _read_name(name: str) -> tuple[str, Tag | None]:
    return normal_name(name) or (name, None)


def _normal(repository: str | None) -> str | None:
    if repository is None:
        return None
    read = normal_name(repository)
    if read is None:
        raise NameInvalid(f"{repository[:200]!r} is not a repository name; write [host/]name")
    return read[0]
