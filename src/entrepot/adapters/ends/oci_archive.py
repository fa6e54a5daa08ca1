"""The Ends `oci-archive:FILE` and `-`: an image layout in a tar, read without unpacking it and
written front to back.

A written archive holds every blob as it came, then `index.json` and `oci-layout`. A file replaces
what was there in one step, at `commit`; until then it is hidden (`.FILE.partial`), and what broke
off is continued there.
"""

from collections.abc import Sequence
from typing import Self

from entrepot.adapters.ends.archive_input import open_archive
from entrepot.adapters.ends.layout_index import LAYOUT, REF_NAME, LayoutIndex
from entrepot.adapters.ends.layout_source import MAX_MANIFEST, LayoutReader, LayoutSource, blob_name
from entrepot.adapters.ends.manifest_check import check_manifest, has_subject
from entrepot.adapters.ends.tar_reading import TarFiles
from entrepot.adapters.ends.tar_writing import TarOutput
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ContentInvalid
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import BlobContent


class OciArchiveSource(LayoutSource):
    """See the port: an ImageSource. `reference` is what the address names."""

    def __init__(
        self,
        files: TarFiles,
        reference: Tag | Digest | None = None,
        *,
        max_manifest_size: int = MAX_MANIFEST,
    ) -> None:
        """Take an opened archive. Raise ContentInvalid if it is another kind of archive."""
        if files.find("index.json") is None and files.find("manifest.json") is not None:
            raise ContentInvalid(
                f"{files.where} is an archive as docker writes it; read it as docker-archive:"
            )
        super().__init__(LayoutReader(files, max_manifest_size), reference)
        self._files = files

    @classmethod
    async def open(
        cls,
        path: str,
        reference: Tag | Digest | None = None,
        *,
        max_manifest_size: int = MAX_MANIFEST,
    ) -> Self:
        """Open a file, or standard input (`-`). Raise what `open_archive` raises."""
        files = await open_archive(path)
        try:
            return cls(files, reference, max_manifest_size=max_manifest_size)
        except BaseException:
            files.close()
            raise

    async def close(self) -> None:
        self._files.close()


class OciArchiveTarget:
    """See the port: an ImageTarget. `path` is a file, a pipe, or `-` for standard output.

    Blobs are written one after the other. In a file one that fails is continued when it is put
    again; in a pipe it is the end: everything after it raises Unavailable.
    """

    def __init__(self, path: str) -> None:
        """Open the archive. Raise StoreFull or Unavailable."""
        self._output = TarOutput(path)
        self._index = LayoutIndex(self._output.where)

    async def has_blob(self, descriptor: Descriptor) -> bool:
        return await self._output.has(blob_name(descriptor.digest))

    async def has_manifest(self, descriptor: Descriptor) -> bool:
        return await self._output.has(blob_name(descriptor.digest))

    async def put_blob(self, content: BlobContent) -> None:
        await self._output.add(blob_name(content.descriptor.digest), content)

    async def put_manifest(self, descriptor: Descriptor, content: bytes) -> None:
        check_manifest(descriptor, content)
        await self._output.add_bytes(blob_name(descriptor.digest), content)
        if has_subject(descriptor, content):
            # Nothing else in the layout leads to it.
            self._index = self._index.with_root(descriptor, ())

    async def publish(self, root: Descriptor, content: bytes, tags: Sequence[Tag]) -> None:
        check_manifest(root, content)
        await self._output.add_bytes(blob_name(root.digest), content)
        self._index = self._index.with_root(root, [{REF_NAME: tag} for tag in tags])

    async def commit(self) -> None:
        if not self._output.committed:
            await self._output.add_bytes("index.json", self._index.to_bytes())
            await self._output.add_bytes("oci-layout", LAYOUT)
            await self._output.commit()

    async def close(self) -> None:
        await self._output.close()
