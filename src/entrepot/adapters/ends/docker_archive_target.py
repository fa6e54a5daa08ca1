"""The End `docker-archive:FILE` to write: an archive that `docker load`, `podman load`, skopeo and
containerd read, and that gives back the same digests.

It is an image layout with `manifest.json` beside `index.json`. Blobs are in it as they came.
docker before 23 knows no zstd: such a layer is in the archive a second time, decompressed, for
`manifest.json` to name.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from entrepot.adapters.ends.block_reading import Region, blocks
from entrepot.adapters.ends.disk_errors import disk_errors
from entrepot.adapters.ends.docker_image import TABLE, normal_name
from entrepot.adapters.ends.layout_index import CONTAINERD_NAME, LAYOUT, REF_NAME, LayoutIndex
from entrepot.adapters.ends.layout_source import blob_name
from entrepot.adapters.ends.manifest_check import check_manifest, has_subject
from entrepot.adapters.ends.tar_writing import TarOutput
from entrepot.adapters.ends.zstd_frames import ZstdFrames
from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import ManifestBlobUnknown, NameInvalid, Unsupported
from entrepot.oci.manifest import Index, Manifest, parse_manifest
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import BlobContent

_CONFIGS: Final = frozenset({media_types.OCI_CONFIG, media_types.DOCKER_CONFIG})
_ZSTD: Final = frozenset({media_types.OCI_LAYER_ZSTD, media_types.DOCKER_LAYER_ZSTD})


@dataclass(slots=True, eq=False)
class _Archive:
    """What has been written so far. `images` are the lines of the table by manifest, `plain`
    the names of decompressed copies by layer."""

    output: TarOutput
    index: LayoutIndex
    images: dict[Digest, tuple[str, list[str], list[str]]] = field(default_factory=dict)
    plain: dict[Digest, str] = field(default_factory=dict)


class DockerArchiveTarget:
    """See the port: an ImageTarget for images of one platform.

    `path` is a file, a pipe, or `-` for standard output. What is published is called
    `repository:tag`; without a repository images have no name. `under` gives the same archive
    with another repository.
    """

    def __init__(self, path: str, repository: str | None = None) -> None:
        """Open the archive. Raise StoreFull, Unavailable, or NameInvalid."""
        _check(repository)
        output = TarOutput(path)
        self._archive = _Archive(output, LayoutIndex(output.where))
        self._repository = repository
        self._owns = True

    def under(self, repository: str | None) -> "DockerArchiveTarget":
        """Return this archive for images of another repository; closing that does nothing."""
        _check(repository)
        other = object.__new__(type(self))
        other._archive, other._repository, other._owns = self._archive, repository, False
        return other

    async def has_blob(self, descriptor: Descriptor) -> bool:
        whole = descriptor.media_type not in _ZSTD or descriptor.digest in self._archive.plain
        return whole and await self._archive.output.has(blob_name(descriptor.digest))

    async def has_manifest(self, descriptor: Descriptor) -> bool:
        return await self._archive.output.has(blob_name(descriptor.digest))

    async def put_blob(self, content: BlobContent) -> None:
        name = blob_name(content.descriptor.digest)
        if content.descriptor.media_type not in _ZSTD:
            await self._archive.output.add(name, content)
        elif content.descriptor.digest not in self._archive.plain:
            with tempfile.TemporaryFile() as spool:
                await self._add_both(name, content, _Decompressed(content, spool))

    async def put_manifest(self, descriptor: Descriptor, content: bytes) -> None:
        check_manifest(descriptor, content)
        self._require_image(descriptor, content)
        await self._archive.output.add_bytes(blob_name(descriptor.digest), content)
        if has_subject(descriptor, content):
            # Nothing else in the layout leads to it.
            self._archive.index = self._archive.index.with_root(descriptor, ())

    async def publish(self, root: Descriptor, content: bytes, tags: Sequence[Tag]) -> None:
        check_manifest(root, content)
        manifest = self._require_image(root, content)
        loadable = manifest.config.media_type in _CONFIGS
        if not loadable and (tags or manifest.subject is None):
            raise Unsupported(
                f"{root.digest} is no image that docker could load, but an artifact "
                f"({manifest.artifact_type}); write it to oci: or oci-archive:"
            )
        if loadable:
            await self._list(root, manifest, tags)
        await self._archive.output.add_bytes(blob_name(root.digest), content)
        self._archive.index = self._archive.index.with_root(
            root, [self._annotations(tag) for tag in tags]
        )

    async def commit(self) -> None:
        output = self._archive.output
        if not output.committed:
            table = [
                {"Config": config, "RepoTags": names or None, "Layers": layers}
                for config, names, layers in self._archive.images.values()
            ]
            await output.add_bytes(TABLE, json.dumps(table, separators=(",", ":")).encode())
            await output.add_bytes("index.json", self._archive.index.to_bytes())
            await output.add_bytes("oci-layout", LAYOUT)
            await output.commit()

    async def close(self) -> None:
        if self._owns:
            await self._archive.output.close()

    def _require_image(self, descriptor: Descriptor, content: bytes) -> Manifest:
        read = parse_manifest(content, descriptor.media_type)
        if isinstance(read, Index):
            raise Unsupported(
                f"a docker archive holds images of one platform, and {descriptor.digest} is an "
                "index of several; choose one with --platform, or write to oci-archive:"
            )
        return read

    async def _list(self, root: Descriptor, manifest: Manifest, tags: Sequence[Tag]) -> None:
        """Add the image to the table. A name is that of one image only."""
        archive = self._archive
        layers = [archive.plain.get(d.digest, blob_name(d.digest)) for d in manifest.layers]
        config = blob_name(manifest.config.digest)
        missing = [name for name in (config, *layers) if not await archive.output.has(name)]
        if missing:
            raise ManifestBlobUnknown(
                f"{missing[0]} of {root.digest} is not in the archive, which docker could not "
                "load then; layers that are kept elsewhere have to be copied along"
            )
        names = [f"{self._repository}:{tag}" for tag in tags] if self._repository else []
        for _, others, _ in archive.images.values():
            others[:] = [name for name in others if name not in names]
        known = archive.images.setdefault(root.digest, (config, [], layers))
        known[1].extend(names)

    def _annotations(self, tag: Tag) -> dict[str, str]:
        full = normal_name(f"{self._repository}:{tag}") if self._repository else None
        return {REF_NAME: tag} | ({CONTAINERD_NAME: f"{full[0]}:{tag}"} if full else {})

    async def _add_both(self, name: str, content: BlobContent, plain: "_Decompressed") -> None:
        """Add a layer and its decompressed copy."""
        output = self._archive.output
        if output.is_pipe:
            await output.add(name, plain)
            if not plain.begun:  # the layer is there, its decompressed copy had failed
                async for _ in plain.read():
                    pass
        else:
            # A part of it, or all, may be what an earlier attempt has left: it is read back.
            await output.add(name, content)
            async for block in blocks(output.region(name, content.descriptor.size)):
                await plain.keep(block)
        descriptor = plain.finished()
        name = blob_name(descriptor.digest)
        await self._archive.output.add(name, _Spooled(descriptor, plain.spool))
        self._archive.plain[plain.descriptor.digest] = name


class _Decompressed:
    """A blob that is decompressed to a temporary file: on its way, if it is read as a blob, or
    kept block by block. Either is done once."""

    def __init__(self, content: BlobContent, spool: IO[bytes]) -> None:
        self.spool = spool
        self.begun = False
        self._content = content
        self._frames = ZstdFrames(str(content.descriptor.digest))
        self._hasher = Hasher()
        self._size = 0
        self._where = f"the decompressed copy of a layer in {tempfile.gettempdir()}"

    @property
    def descriptor(self) -> Descriptor:
        return self._content.descriptor

    def finished(self) -> Descriptor:
        """Describe what stands in the temporary file. Raise ContentInvalid if it is not whole."""
        self._frames.finish()
        return Descriptor(media_types.DOCKER_LAYER, self._hasher.digest(), self._size)

    async def read(self, offset: int = 0, prefix: Hasher | None = None) -> AsyncIterator[bytes]:
        assert offset == 0, "nothing that was sent down a pipe is continued"
        self.begun = True
        async for chunk in self._content.read(offset, prefix):
            await self.keep(chunk)
            yield chunk

    async def keep(self, chunk: bytes) -> None:
        """Decompress a chunk. Raise ContentInvalid, StoreFull."""
        await asyncio.to_thread(self._keep, chunk)

    def _keep(self, chunk: bytes) -> None:
        with disk_errors(self._where, full="free space, or set TMPDIR to a larger folder"):
            for block in self._frames.feed(chunk):
                self._hasher.update(block)
                self._size += len(block)
                self.spool.write(block)
            self.spool.flush()


@dataclass(frozen=True, slots=True)
class _Spooled:
    """What stands in a temporary file, as a blob on its way; we have hashed it ourselves."""

    descriptor: Descriptor
    spool: IO[bytes]

    def read(self, offset: int = 0, prefix: Hasher | None = None) -> AsyncIterator[bytes]:
        size = self.descriptor.size
        region = Region(self.spool.fileno(), 0, size, "a temporary file", shared=True)
        assert os.fstat(region.descriptor).st_size == size
        return blocks(region, offset)


def _check(repository: str | None) -> None:
    if repository is not None and normal_name(repository) is None:
        raise NameInvalid(f"{repository[:200]!r} is not a repository name; write [host/]name")
