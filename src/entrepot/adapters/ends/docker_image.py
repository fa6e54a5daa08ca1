"""Images as `manifest.json` of a docker archive lists them, and the manifest each one has.

docker and podman save no manifest, or one of their own. Where the archive is an image layout too
and holds the image's manifest with all of its blobs, that manifest is given, byte by byte;
otherwise a Docker schema 2 manifest is made, the same one each time.
"""

import json
import posixpath
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from entrepot.adapters.ends.docker_layers import ArchivedLayer, read_layer
from entrepot.adapters.ends.layout_source import LayoutReader, blob_name
from entrepot.adapters.ends.tar_reading import TarFiles
from entrepot.oci import media_types
from entrepot.oci.address import repository_address
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.document import Fields, read_document
from entrepot.oci.errors import (
    ContentInvalid,
    DigestInvalid,
    ManifestInvalid,
    NameInvalid,
    RegistryError,
    SizeInvalid,
    TagInvalid,
)
from entrepot.oci.manifest import Index, Manifest, parse_manifest
from entrepot.oci.reference import Tag

TABLE: Final = "manifest.json"
MAX_TABLE: Final = 16 << 20
MAX_CONFIG: Final = 8 << 20
_MOST_DEPTH: Final = 4


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """A line of the table: the names of its config and layers in the archive, and its tags as
    `repository:tag`."""

    config: str
    names: tuple[str, ...]
    layers: tuple[str, ...]

    def tags(self, repository: str | None) -> Iterator[Tag]:
        """Yield the tags in a repository, or all of them."""
        for name in self.names:
            read = normal_name(name)
            if read and read[1] and (repository is None or read[0] == repository):
                yield read[1]


@dataclass(frozen=True, slots=True)
class DescribedImage:
    """An image with its manifest, and where in the archive its blobs are."""

    root: Descriptor
    content: bytes
    blobs: Mapping[Digest, str] = field(hash=False)


def normal_name(name: str) -> tuple[str, Tag | None] | None:
    """Return `host/repository` in full, and the tag; None if it is no name.

    `busybox:1` and `docker.io/library/busybox:1` are the same.
    """
    try:
        read = repository_address(name)
    except (NameInvalid, TagInvalid, DigestInvalid):
        return None
    return f"{read.host}/{read.repository}", read.tag


def read_table(files: TarFiles) -> Sequence[ArchivedImage]:
    """Read `manifest.json`. Raise ContentInvalid."""
    region = files.open(TABLE)
    if region is None:
        other = (
            " it is an image layout: read it as oci-archive:" if files.find("index.json") else ""
        )
        raise ContentInvalid(
            f"{files.where} is no docker archive: it has no {TABLE};"
            + (other or " check what it is, or save the image with docker 1.10 or newer")
        )
    try:
        table = read_document(b'{"images":' + region.whole(MAX_TABLE) + b"}")
        lines = [Fields.of(line, path) for path, line in table.items("images")]
        return [
            ArchivedImage(str(line.text("Config")), line.texts("RepoTags"), line.texts("Layers"))
            for line in lines
        ]
    except (ManifestInvalid, SizeInvalid) as error:
        raise ContentInvalid(
            f"{TABLE} of {files.where} cannot be read: {error.message}; save the image anew"
        ) from None


class ImageReader:
    """Describes images. Everything blocks; layers that several images share are read once."""

    def __init__(self, files: TarFiles, reader: LayoutReader) -> None:
        self._files = files
        self._reader = reader
        self._layers: dict[tuple[int, int], ArchivedLayer] = {}

    def describe(self, image: ArchivedImage, stop: threading.Event) -> DescribedImage:
        """Find or make the image's manifest. Raise ContentInvalid or DigestInvalid."""
        config = self._config(image)
        return self._kept(image, config) or self._made(image, config, stop)

    def _config(self, image: ArchivedImage) -> bytes:
        region = self._files.open(image.config)
        if region is None:
            raise self._missing("config", image.config)
        try:
            content = region.whole(MAX_CONFIG)
        except SizeInvalid as error:
            raise ContentInvalid(f"{error.message}; it is no config of an image") from None
        named, actual = posixpath.basename(image.config).removesuffix(".json"), Digest.of(content)
        if len(named) == len(actual.hex) and named != actual.hex:
            raise DigestInvalid(
                f"{region.where} is damaged: its content is {actual}; save the image anew"
            )
        return content

    def _kept(self, image: ArchivedImage, config: bytes) -> DescribedImage | None:
        """Return the image with the manifest that the archive's layout has of it."""
        if self._files.find("index.json") is None:
            return None
        try:
            entries = list(self._reader.index().entries)
        except RegistryError:
            return None  # the table alone says enough
        names = {normal_name(name) for name in image.names}
        entries.sort(key=lambda entry: normal_name(entry.full or entry.written) not in names)
        for entry in entries:
            for descriptor, manifest in self._manifests(entry.descriptor):
                if self._is_of(manifest, config):
                    blobs = {digest: blob_name(digest) for digest in manifest.blobs()}
                    return DescribedImage(descriptor, manifest.content, blobs)
        return None

    def _manifests(
        self, descriptor: Descriptor, depth: int = 0
    ) -> Iterator[tuple[Descriptor, Manifest]]:
        """Yield the image manifests that a line of the index leads to."""
        known = media_types.MANIFESTS | media_types.INDEXES
        if descriptor.media_type not in known or depth > _MOST_DEPTH:
            return
        try:
            content = self._reader.manifest(descriptor)
            read = parse_manifest(content, descriptor.media_type)
        except RegistryError:
            return
        if isinstance(read, Index):
            for child in read.manifests:
                yield from self._manifests(child, depth + 1)
        else:
            yield Descriptor(read.media_type, descriptor.digest, len(content)), read

    def _is_of(self, manifest: Manifest, config: bytes) -> bool:
        """Say whether a manifest is of the image with this config, and whole."""
        digest = manifest.config.digest
        if Digest.of(config, digest.algorithm) != digest:
            return False
        needed = {d.digest: d.size for d in (manifest.config, *manifest.layers)}
        entries = ((self._files.find(blob_name(d)), size) for d, size in needed.items())
        return all(entry is not None and entry.size == size for entry, size in entries)

    def _made(self, image: ArchivedImage, config: bytes, stop: threading.Event) -> DescribedImage:
        """Make a manifest of what the table lists."""
        diff_ids = self._diff_ids(image, config)
        described = Descriptor(media_types.DOCKER_CONFIG, Digest.of(config), len(config))
        blobs, layers = {described.digest: image.config}, []
        for name, diff_id in zip(image.layers, diff_ids, strict=True):
            layer = self._layer(name, diff_id, stop)
            blobs[layer.digest] = name
            layers.append(layer.to_json())
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_types.DOCKER_MANIFEST,
            "config": described.to_json(),
            "layers": layers,
        }
        content = json.dumps(manifest, separators=(",", ":")).encode()
        root = Descriptor(media_types.DOCKER_MANIFEST, Digest.of(content), len(content))
        return DescribedImage(root, content, blobs)

    def _diff_ids(self, image: ArchivedImage, config: bytes) -> Sequence[Digest]:
        try:
            rootfs = Fields.of(read_document(config).required("rootfs"), "rootfs")
            diff_ids = [Digest.parse(text) for text in rootfs.texts("diff_ids")]
        except (ManifestInvalid, DigestInvalid) as error:
            raise ContentInvalid(
                f"{image.config} in {self._files.where} is no config of an image: {error.message}"
            ) from None
        if len(diff_ids) != len(image.layers):
            raise ContentInvalid(
                f"{TABLE} of {self._files.where} lists {len(image.layers)} layers, the image's "
                f"config {len(diff_ids)}; save the image anew"
            )
        return diff_ids

    def _layer(self, name: str, diff_id: Digest, stop: threading.Event) -> Descriptor:
        entry, region = self._files.find(name), self._files.open(name)
        if entry is None or region is None:
            raise self._missing("layer", name)
        known = self._layers.get((entry.start, entry.size))
        if known is None or known.diff_id != diff_id:
            known = self._layers[entry.start, entry.size] = read_layer(region, diff_id, stop)
        return known.descriptor

    def _missing(self, what: str, name: str) -> ContentInvalid:
        return ContentInvalid(
            f"{self._files.where} is not whole: the {what} {name[:200]!r} is missing; "
            "save the image anew"
        )
