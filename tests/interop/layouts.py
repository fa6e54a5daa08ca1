"""OCI image layouts: the folders that clients push from and pull into.

Read without the code under test, and never trusted: every byte that is read is hashed.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
GZIP_LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"

_TAG: Final = "org.opencontainers.image.ref.name"
_READ_BYTES: Final = 1024 * 1024

Descriptor = dict[str, Any]
"""A descriptor as it stands in JSON: mediaType, digest, size and more."""

Layers = tuple[str, ...]
"""The diff_ids of an image: the layers as they come out when they are unpacked, lowest first."""


@dataclass(frozen=True, slots=True)
class Image:
    """What must be the same wherever the image of one platform goes.

    `manifest` and `config` are digests; the manifest's names the layers as they travel, and
    `diff_ids` those that come out when they are unpacked.
    """

    manifest: str
    config: str
    diff_ids: Layers


class Layout:
    """The OCI image layout in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> "Layout":
        """Make an empty one in a folder that is not there yet."""
        (path / "blobs" / "sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": []}))
        return cls(path)

    def add(self, content: bytes, media_type: str) -> Descriptor:
        """Store a blob and return its descriptor."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.file(digest).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def add_json(self, document: dict[str, Any], media_type: str) -> Descriptor:
        """Store a document and return its descriptor."""
        return self.add(json.dumps(document, separators=(",", ":")).encode(), media_type)

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """Give a manifest of this layout a name."""
        self.list(descriptor | {"annotations": {_TAG: tag}})

    def list(self, descriptor: Descriptor) -> None:
        """Add an entry to the layout's index, as it is."""
        index = json.loads((self.path / "index.json").read_bytes())
        index["manifests"].append(descriptor)
        (self.path / "index.json").write_text(json.dumps(index))

    def find(self) -> Descriptor:
        """Return the manifest that has a tag; where none has, the only one there is."""
        entries = json.loads((self.path / "index.json").read_bytes())["manifests"]
        entries = [one for one in entries if _TAG in one.get("annotations", {})] or entries
        assert len(entries) == 1, entries
        (found,) = entries
        return {key: value for key, value in found.items() if key != "annotations"}

    def file(self, digest: str) -> Path:
        """Return where the blob is, or would be."""
        algorithm, _, encoded = digest.partition(":")
        return self.path / "blobs" / algorithm / encoded

    def document(self, descriptor: Descriptor) -> dict[str, Any]:
        """Return a manifest, index or config read as JSON."""
        self.verify(descriptor)
        document: dict[str, Any] = json.loads(self.file(descriptor["digest"]).read_bytes())
        return document

    def verify(self, descriptor: Descriptor) -> None:
        """Read a blob whole and compare its digest and size."""
        algorithm, _, encoded = descriptor["digest"].partition(":")
        hashed = hashlib.new(algorithm)
        with self.file(descriptor["digest"]).open("rb") as content:
            while block := content.read(_READ_BYTES):
                hashed.update(block)
            assert content.tell() == descriptor["size"], descriptor
        assert hashed.hexdigest() == encoded, descriptor

    def contents(self, descriptor: Descriptor) -> dict[str, str]:
        """Verify all that a manifest or index leads to; return every digest's media type."""
        return {one["digest"]: one["mediaType"] for one in self._walk(descriptor)}

    def image(self, descriptor: Descriptor) -> Image:
        """Verify an image's manifest, config and layers, and say which they are."""
        self.contents(descriptor)
        config = self.document(descriptor)["config"]
        return Image(
            manifest=descriptor["digest"],
            config=config["digest"],
            diff_ids=tuple(self.document(config)["rootfs"]["diff_ids"]),
        )

    def _walk(self, descriptor: Descriptor) -> Iterator[Descriptor]:
        self.verify(descriptor)
        yield descriptor
        if "manifest" not in descriptor["mediaType"] and "index" not in descriptor["mediaType"]:
            return
        document = self.document(descriptor)
        below = document.get("manifests", []) + document.get("layers", [])
        if "config" in document:
            below.append(document["config"])
        for child in below:
            yield from self._walk(child)
