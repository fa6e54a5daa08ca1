"""Conversion between Docker's formats (schema 2, manifest lists) and OCI's, of manifests only.

Layers and configs keep their bytes and digests: Docker's and OCI's differ in their media types
alone. Manifests get new digests, so signatures of the old ones do not hold for the new.

Source: image-spec, media-types.md, "Compatibility Matrix"; Docker Image Manifest V2, Schema 2.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import Unsupported
from entrepot.oci.manifest import Index, Manifest
from entrepot.rules.platform_choice import ATTESTED_DIGEST

Format = Literal["docker", "oci"]

_TO_OCI: Final = {
    media_types.DOCKER_MANIFEST: media_types.OCI_MANIFEST,
    media_types.DOCKER_MANIFEST_LIST: media_types.OCI_INDEX,
    media_types.DOCKER_CONFIG: media_types.OCI_CONFIG,
    media_types.DOCKER_LAYER: media_types.OCI_LAYER,
    media_types.DOCKER_LAYER_GZIP: media_types.OCI_LAYER_GZIP,
    media_types.DOCKER_LAYER_ZSTD: media_types.OCI_LAYER_ZSTD,
    media_types.DOCKER_FOREIGN_LAYER: media_types.OCI_NONDISTRIBUTABLE_LAYER,
    media_types.DOCKER_FOREIGN_LAYER_GZIP: media_types.OCI_NONDISTRIBUTABLE_LAYER_GZIP,
}
_TO_DOCKER: Final = {
    oci: docker for docker, oci in _TO_OCI.items() if docker != media_types.DOCKER_LAYER_ZSTD
}
_ZSTD: Final = frozenset(
    {
        media_types.DOCKER_LAYER_ZSTD,
        media_types.OCI_LAYER_ZSTD,
        media_types.OCI_NONDISTRIBUTABLE_LAYER_ZSTD,
    }
)
_DOCKER_LAYERS: Final = frozenset(
    {
        media_types.DOCKER_LAYER,
        media_types.DOCKER_LAYER_GZIP,
        media_types.DOCKER_FOREIGN_LAYER,
        media_types.DOCKER_FOREIGN_LAYER_GZIP,
    }
)
_AS_IT_IS: Final = "copy it as it is, or to OCI's format"


@dataclass(frozen=True, slots=True)
class Converted:
    """A manifest as it has to be stored, and what the new format has no place for, in words."""

    descriptor: Descriptor
    content: bytes
    lost: tuple[str, ...] = ()


def convert_manifest(descriptor: Descriptor, manifest: Manifest, format: Format) -> Converted:
    """Return an image's manifest in `format`; one that is in it already keeps its bytes.

    Raise Unsupported for what Docker's format cannot hold: artifacts, and layers it has no type
    for. Its platform and annotations in `descriptor` stay.
    """
    if manifest.media_type == _own(format, media_types.OCI_MANIFEST):
        return Converted(descriptor, manifest.content)
    if format == "oci":
        config = replace(manifest.config, media_type=_oci(manifest.config.media_type))
        layers = [replace(layer, media_type=_oci(layer.media_type)) for layer in manifest.layers]
        return _encoded(
            descriptor, media_types.OCI_MANIFEST, manifest, config=config, layers=layers
        )
    _require_image(descriptor, manifest)
    config = replace(manifest.config, media_type=media_types.DOCKER_CONFIG)
    layers = [
        replace(layer, media_type=_docker_layer(layer.media_type)) for layer in manifest.layers
    ]
    return _encoded(descriptor, media_types.DOCKER_MANIFEST, manifest, config=config, layers=layers)


def convert_index(
    descriptor: Descriptor, index: Index, format: Format, children: Mapping[Digest, Descriptor]
) -> Converted:
    """Return an index in `format`, listing `children` in the place of those it lists.

    Entries that are not among `children` are left out. An index that is in the format already
    and whose children are the same keeps its bytes. Raise Unsupported for what is no image list.
    """
    wanted = _own(format, media_types.OCI_INDEX)
    listed = {entry.digest: entry.digest for entry in index.manifests}
    stored = {old: child.digest for old, child in children.items()}
    if index.media_type == wanted and listed == stored:
        return Converted(descriptor, index.content)
    if format == "docker" and (index.blobs() or index.undistributed()):
        raise Unsupported(
            f"{descriptor.digest} lists content that is not an image, which Docker's manifest "
            f"lists cannot; {_AS_IT_IS}",
            detail={"digest": str(descriptor.digest)},
        )
    entries = [_entry(entry, children) for entry in index.manifests if entry.digest in children]
    return _encoded(descriptor, wanted, index, manifests=entries)


def _entry(entry: Descriptor, children: Mapping[Digest, Descriptor]) -> Descriptor:
    annotations = dict(entry.annotations)
    attested = annotations.get(ATTESTED_DIGEST)
    for old, child in children.items() if attested else ():
        if str(old) == attested:
            annotations[ATTESTED_DIGEST] = str(child.digest)
    child = children[entry.digest]
    return replace(
        entry,
        media_type=child.media_type,
        digest=child.digest,
        size=child.size,
        annotations=annotations,
        data=entry.data if child.digest == entry.digest else None,
    )


def _own(format: Format, oci: str) -> str:
    return oci if format == "oci" else _TO_DOCKER[oci]


def _oci(media_type: str) -> str:
    # What Docker's table does not know (a plug-in's config) may stand in OCI manifests as it is.
    return _TO_OCI.get(media_type, media_type)


def _docker_layer(media_type: str) -> str:
    if media_type in _DOCKER_LAYERS:
        return media_type
    if media_type in _ZSTD:
        raise Unsupported(
            f"a layer is compressed with zstd, for which Docker's format has no type; {_AS_IT_IS}",
            detail={"mediaType": media_type},
        )
    try:
        return _TO_DOCKER[media_type]
    except KeyError:
        raise Unsupported(
            f"Docker's format has no layers of the type {media_type!r}; {_AS_IT_IS}",
            detail={"mediaType": media_type},
        ) from None


def _require_image(descriptor: Descriptor, manifest: Manifest) -> None:
    config = manifest.config.media_type
    if config not in (media_types.OCI_CONFIG, media_types.DOCKER_CONFIG):
        raise Unsupported(
            f"{descriptor.digest} is an artifact ({config}), and Docker's format holds images "
            f"only; {_AS_IT_IS}",
            detail={"digest": str(descriptor.digest), "mediaType": config},
        )


def _encoded(
    descriptor: Descriptor,
    media_type: str,
    manifest: Manifest | Index,
    *,
    config: Descriptor | None = None,
    **lists: list[Descriptor],
) -> Converted:
    docker = media_type in (media_types.DOCKER_MANIFEST, media_types.DOCKER_MANIFEST_LIST)
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": media_type}
    if not docker and (artifact_type := _artifact_type(manifest)):
        document["artifactType"] = artifact_type
    render = _docker_entry if docker else Descriptor.to_json
    if config is not None:
        document["config"] = render(config)
    for name, entries in lists.items():
        document[name] = [render(entry) for entry in entries]
    if not docker and manifest.subject:
        document["subject"] = manifest.subject.to_json()
    if not docker and manifest.annotations:
        document["annotations"] = dict(manifest.annotations)
    # Docker's own layout of the text: an image that went to OCI and back has its old digest.
    text = json.dumps(document, indent=3) if docker else json.dumps(document, separators=(",", ":"))
    content = text.encode()
    digest = Digest.of(content, descriptor.digest.algorithm)
    new = replace(
        descriptor, media_type=media_type, digest=digest, size=len(content), data=None, urls=()
    )
    entries = [entry for entries in lists.values() for entry in entries]
    return Converted(new, content, _lost(manifest, entries) if docker else ())


def _docker_entry(descriptor: Descriptor) -> dict[str, object]:
    entry: dict[str, object] = {
        "mediaType": descriptor.media_type,
        "size": descriptor.size,
        "digest": str(descriptor.digest),
    }
    if descriptor.urls:
        entry["urls"] = list(descriptor.urls)
    if descriptor.platform:
        entry["platform"] = descriptor.platform.to_json()
    return entry


def _artifact_type(manifest: Manifest | Index) -> str | None:
    """Return the type that the manifest states, not one concluded from its config."""
    concluded = isinstance(manifest, Manifest) and manifest.config.media_type
    return None if manifest.artifact_type == concluded else manifest.artifact_type


def _lost(manifest: Manifest | Index, entries: list[Descriptor]) -> tuple[str, ...]:
    kinds = {
        "annotations": manifest.annotations or any(entry.annotations for entry in entries),
        "the subject": manifest.subject,
        "the artifact type": _artifact_type(manifest),
    }
    return tuple(kind for kind, there in kinds.items() if there)
