"""Reading an image layout, wherever its files are: in a folder or in a tar."""

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from entrepot.adapters.ends.block_reading import BLOCK, Region, blocks
from entrepot.adapters.ends.layout_index import MAX_INDEX, LayoutIndex
from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.document import read_document
from entrepot.oci.errors import (
    BlobUnknown,
    ContentInvalid,
    DigestInvalid,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameUnknown,
    SizeInvalid,
)
from entrepot.oci.manifest import Index, Manifest, parse_manifest
from entrepot.oci.reference import Tag

MAX_MANIFEST: Final = 4 << 20
"""Largest manifest that is read, in bytes."""

MOST_SCANNED: Final = 100_000
"""How many manifests are looked through for those that have a subject."""


class Files(Protocol):
    """A layout's files by name (`index.json`, `blobs/sha256/…`). Everything blocks."""

    @property
    def where(self) -> str:
        """What messages call the layout."""
        ...

    def open(self, name: str) -> Region | None:
        """Open a file; None if there is none. Raise ContentInvalid for no regular file."""
        ...


def blob_name(digest: Digest) -> str:
    """Return a blob's name in a layout. A parsed digest holds nothing that leads elsewhere."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


@dataclass(frozen=True, slots=True)
class LayoutReader:
    """The questions of an ImageSource, asked of a layout's files. Everything blocks but `blob`.

    `max_manifest` is in bytes.
    """

    files: Files
    max_manifest: int = MAX_MANIFEST

    def index(self) -> LayoutIndex:
        """Read `index.json`. Raise NameUnknown if there is no layout, or ContentInvalid."""
        where = self.files.where
        region = self.files.open("index.json")
        if region is None:
            raise NameUnknown(f"{where} is no image layout: it has no index.json; check the path")
        try:
            content = region.whole(MAX_INDEX)
        except SizeInvalid as error:
            raise ContentInvalid(f"{error.message}; get the layout anew") from None
        finally:
            region.close()
        self._check_version()
        return LayoutIndex.read(content, where)

    def resolve(self, reference: Tag | Digest | None) -> Descriptor:
        """Find a manifest. Raise ManifestUnknown, NameUnknown, ContentInvalid or
        DigestInvalid."""
        index = self.index()
        if isinstance(reference, Digest):
            found = index.listed(reference) or self._unlisted(index, reference)
        elif reference is not None:
            found = index.tagged(reference)
        else:
            found = self._only(index)
        # The size is what the file has: verified together with the digest.
        content = self.manifest(found)
        return replace(found, size=len(content), annotations={}, urls=(), data=None)

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Read and verify a manifest. Raise ManifestUnknown, ManifestTooLarge or
        DigestInvalid."""
        region = self.files.open(blob_name(descriptor.digest))
        if region is None:
            raise ManifestUnknown(
                f"{self.files.where} holds no manifest {descriptor.digest}; the layout is not "
                "whole, or it is another one",
                detail={"digest": str(descriptor.digest)},
            )
        try:
            if region.size > self.max_manifest:
                raise ManifestTooLarge(
                    f"{region.where} has {region.size} bytes, and no manifest may have more "
                    f"than {self.max_manifest}; it is something else"
                )
            _check_size(region, descriptor)
            content = region.whole(self.max_manifest)
        finally:
            region.close()
        actual = Digest.of(content, descriptor.digest.algorithm)
        if actual != descriptor.digest:
            raise DigestInvalid(
                f"{region.where} is damaged: its content is {actual}; remove it and get it anew",
                detail={"digest": str(descriptor.digest), "actual": str(actual)},
            )
        return content

    async def blob(self, descriptor: Descriptor, offset: int) -> AsyncIterator[bytes]:
        """Yield a blob. Raise BlobUnknown, or DigestInvalid for a file of another size."""
        region = await asyncio.to_thread(self._open, descriptor)
        async for block in blocks(region, offset):
            yield block

    def blocks(self, descriptor: Descriptor, offset: int) -> Generator[bytes, None, None]:
        """Yield a blob to a thread, as `blob` does."""
        region = self._open(descriptor)
        try:
            while block := region.read(offset, BLOCK):
                offset += len(block)
                yield block
        finally:
            region.close()

    def _open(self, descriptor: Descriptor) -> Region:
        region = self.files.open(blob_name(descriptor.digest))
        if region is None:
            raise BlobUnknown(
                f"{self.files.where} holds no blob {descriptor.digest}; the layout is not whole: "
                "get it anew",
                detail={"digest": str(descriptor.digest)},
            )
        try:
            _check_size(region, descriptor)
        except DigestInvalid:
            region.close()
            raise
        return region

    def referrers(self, subject: Digest, artifact_type: str | None) -> Sequence[Descriptor]:
        """Look through all manifests that the index leads to for those with this subject."""
        found: dict[Digest, Descriptor] = {}
        waiting = [entry.descriptor for entry in self.index().entries]
        seen: set[Digest] = set()
        while waiting:
            descriptor = waiting.pop()
            if descriptor.digest in seen or not _may_be_read(descriptor):
                continue
            seen.add(descriptor.digest)
            if len(seen) > MOST_SCANNED:
                raise ContentInvalid(
                    f"{self.files.where} lists more than {MOST_SCANNED} manifests, too many to "
                    "look through for referrers; copy without them"
                )
            read = self._parsed(descriptor)
            if isinstance(read, Index):
                waiting += read.manifests
            if read is not None and read.subject is not None and read.subject.digest == subject:
                found[descriptor.digest] = _referrer(descriptor.digest, read)
        matching = [one for one in found.values() if artifact_type in (None, one.artifact_type)]
        return sorted(matching, key=lambda one: str(one.digest))

    def _parsed(self, descriptor: Descriptor) -> Manifest | Index | None:
        """Read a manifest; None if it is not there (an index may list what was not copied)."""
        try:
            return parse_manifest(self.manifest(descriptor), descriptor.media_type)
        except (ManifestUnknown, ManifestInvalid):
            return None

    def _only(self, index: LayoutIndex) -> Descriptor:
        found = index.candidates()
        if len(found) > 1 and len(found) <= MOST_SCANNED:
            found = [one for one in found if not self._has_subject(one)] or found
        if len(found) != 1:
            problem = "several images" if found else "no image"
            raise ManifestUnknown(
                f"{index.where} holds {problem}; "
                + (f"name one: {index.what_is_there()}" if found else "write one to it first")
            )
        return found[0]

    def _has_subject(self, descriptor: Descriptor) -> bool:
        read = self._parsed(descriptor)
        return read is not None and read.subject is not None

    def _unlisted(self, index: LayoutIndex, digest: Digest) -> Descriptor:
        """Describe a manifest that only an index leads to."""
        region = self.files.open(blob_name(digest))
        if region is None:
            raise ManifestUnknown(
                f"{index.where} holds no manifest {digest}; {index.what_is_there()}",
                detail={"digest": str(digest)},
            )
        region.close()
        content = self.manifest(Descriptor(media_types.OCI_MANIFEST, digest, region.size))
        return Descriptor(parse_manifest(content).media_type, digest, len(content))

    def _check_version(self) -> None:
        region = self.files.open("oci-layout")
        if region is None:
            return  # tools leave it out, and index.json says it all
        try:
            version = read_document(region.whole(1 << 20)).text("imageLayoutVersion")
        except (ManifestInvalid, SizeInvalid):
            version = None
        finally:
            region.close()
        if version is None or not version.startswith("1."):
            raise ContentInvalid(
                f"oci-layout of {self.files.where} names no version 1 of image layouts; "
                "it is something else, or newer than this program"
            )


def _check_size(region: Region, descriptor: Descriptor) -> None:
    if region.size != descriptor.size:
        raise DigestInvalid(
            f"{region.where} has {region.size} bytes, not {descriptor.size}; "
            "remove it and get it anew",
            detail={"digest": str(descriptor.digest)},
        )


def _may_be_read(descriptor: Descriptor) -> bool:
    return media_types.is_manifest(descriptor.media_type) or media_types.is_index(
        descriptor.media_type
    )


def _referrer(digest: Digest, read: Manifest | Index) -> Descriptor:
    return Descriptor(
        read.media_type,
        digest,
        len(read.content),
        annotations=read.annotations,
        artifact_type=read.artifact_type,
    )


class LayoutSource:
    """The reading side of an End whose files are those of a layout: see `ports.image_end`."""

    def __init__(self, reader: LayoutReader, reference: Tag | Digest | None) -> None:
        self._reader = reader
        self._reference = reference

    async def resolve(self, reference: Tag | Digest | None = None) -> Descriptor:
        """See `ImageSource.resolve`."""
        return await asyncio.to_thread(self._reader.resolve, reference or self._reference)

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """See `ImageSource.manifest`."""
        return await asyncio.to_thread(self._reader.manifest, descriptor)

    def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        """See `ImageSource.blob`."""
        return self._reader.blob(descriptor, offset)

    def blocks(self, descriptor: Descriptor, offset: int) -> Generator[bytes, None, None]:
        """See `StoresBlobs.blocks`."""
        return self._reader.blocks(descriptor, offset)

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> Sequence[Descriptor]:
        """See `ImageSource.referrers`."""
        return await asyncio.to_thread(self._reader.referrers, subject, artifact_type)

    async def tags(self) -> Sequence[Tag]:
        """See `ImageSource.tags`."""
        return (await asyncio.to_thread(self._reader.index)).tags()

    async def named(self) -> Mapping[str, Descriptor]:
        """See `KnowsNames.named`."""
        return (await asyncio.to_thread(self._reader.index)).named()
