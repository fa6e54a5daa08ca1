"""Manifests and indexes: the bytes as they were pushed, and what a registry reads in them.

The bytes are the identity and are never re-encoded; the parsed view is only for looking at.
Source: image-spec, manifest.md and image-index.md; Docker Image Manifest V2, Schema 2.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.document import Fields, read_document, refuse
from entrepot.oci.errors import ManifestInvalid


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest (OCI or Docker schema 2), also of an artifact.

    `artifact_type` is what the referrers API shows: the manifest's own, else its config's
    media type.
    """

    content: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None
    annotations: Mapping[str, str] = field(hash=False)

    def blobs(self) -> tuple[Digest, ...]:
        """Return the blobs that must exist, each once: config and distributable layers."""
        return _unique(d for d in (self.config, *self.layers) if d.is_distributable)

    def undistributed(self) -> tuple[Digest, ...]:
        """Return the layers that a registry need not hold, each once."""
        return _unique(d for d in self.layers if not d.is_distributable)

    def children(self) -> tuple[Digest, ...]:
        """Return the manifests it consists of: none."""
        return ()


@dataclass(frozen=True, slots=True)
class Index:
    """An image index or a Docker manifest list; `artifact_type` is its own or None."""

    content: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None
    annotations: Mapping[str, str] = field(hash=False)

    def blobs(self) -> tuple[Digest, ...]:
        """Return the entries that are blobs, each once.

        Not an image-spec idea, but BuildKit exports its cache as an index of layers.
        """
        return _unique(
            d
            for d in self.manifests
            if d.is_distributable and not media_types.is_manifest_kind(d.media_type)
        )

    def undistributed(self) -> tuple[Digest, ...]:
        """Return the entries that a registry need not hold, each once."""
        return _unique(d for d in self.manifests if not d.is_distributable)

    def children(self) -> tuple[Digest, ...]:
        """Return the manifests and indexes it lists, each once."""
        return _unique(d for d in self.manifests if media_types.is_manifest_kind(d.media_type))


def parse_manifest(content: bytes, media_type: str | None = None) -> Manifest | Index:
    """Read a manifest pushed with the Content-Type `media_type` (parameters are ignored).

    Without one, the document's `mediaType` decides, else whether it lists manifests or
    layers. Unknown fields are allowed and kept in `content`. Raise ManifestInvalid, naming
    the field, for whatever the image-spec does not allow or two readers could take for
    two different things.
    """
    fields = read_document(content)
    declared = media_types.bare(media_type or "")
    _check_schema(fields, declared)
    actual = _media_type(fields, declared)
    subject = _subject(fields)
    artifact_type = fields.media_type("artifactType")
    annotations = fields.annotations("annotations")
    if media_types.is_index(actual):
        manifests = _descriptors(fields, "manifests")
        return Index(content, actual, manifests, subject, artifact_type, annotations)
    config = Descriptor.of_json(fields.required("config"), "config")
    layers = _descriptors(fields, "layers")
    artifact_type = artifact_type or config.media_type
    return Manifest(content, actual, config, layers, subject, artifact_type, annotations)


def _check_schema(fields: Fields, declared: str) -> None:
    version = fields.value("schemaVersion")
    if declared in media_types.SCHEMA1 or (type(version) is int and version == 1):
        raise ManifestInvalid(
            "Docker image manifest schema 1 is not supported; push the image as Docker schema 2 "
            "or OCI, which every client since Docker 1.10 can",
            detail={"field": "schemaVersion"},
        )
    if type(version) is not int or version != 2:
        raise refuse("schemaVersion", "must be the number 2")
    if fields.has("manifests") and (fields.has("layers") or fields.has("config")):
        # CVE-2021-41190: one digest, an image to some readers and an index to others
        raise ManifestInvalid(
            "the manifest has both `manifests` and `layers` or `config`; it must be either an "
            "index or an image manifest",
            detail={"field": "manifests"},
        )


def _media_type(fields: Fields, declared: str) -> str:
    own = fields.media_type("mediaType")
    if declared and own and own != declared:
        raise refuse(
            "mediaType",
            f"is {own!r}, but the Content-Type is {declared[:255]!r}; send the same in both",
        )
    inferred = media_types.OCI_INDEX if fields.has("manifests") else media_types.OCI_MANIFEST
    actual = declared or own or inferred
    if not (media_types.is_manifest(actual) or media_types.is_index(actual)):
        known = ", ".join(sorted(media_types.MANIFESTS | media_types.INDEXES))
        raise ManifestInvalid(
            f"{actual[:255]!r} is not a manifest type this registry stores; use one of {known}",
            detail={"mediaType": actual[:255]},
        )
    return actual


def _descriptors(fields: Fields, name: str) -> tuple[Descriptor, ...]:
    if not fields.has(name):
        raise refuse(name, "is missing; the list may be empty, but it must be there")
    return tuple(Descriptor.of_json(item, path) for path, item in fields.items(name))


def _subject(fields: Fields) -> Descriptor | None:
    value = fields.value("subject")
    return None if value is None else Descriptor.of_json(value, "subject")


def _unique(descriptors: Iterable[Descriptor]) -> tuple[Digest, ...]:
    return tuple(dict.fromkeys(descriptor.digest for descriptor in descriptors))
