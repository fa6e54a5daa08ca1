"""Media types of manifests, configs and layers, and what a registry must know about each.

Source: image-spec, media-types.md; Docker Image Manifest V2, Schema 2.
"""

import re
from typing import Final

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_NONDISTRIBUTABLE_LAYER: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_NONDISTRIBUTABLE_LAYER_GZIP: Final = (
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
)
OCI_NONDISTRIBUTABLE_LAYER_ZSTD: Final = (
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
)
OCI_ARTIFACT_MANIFEST: Final = "application/vnd.oci.artifact.manifest.v1+json"
"""Withdrawn before image-spec 1.1 was released; known only to tell it from a blob."""

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD: Final = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_FOREIGN_LAYER: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_FOREIGN_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
DOCKER_SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"

MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({OCI_INDEX, DOCKER_MANIFEST_LIST})
SCHEMA1: Final = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})

_NON_DISTRIBUTABLE: Final = frozenset(
    {
        OCI_NONDISTRIBUTABLE_LAYER,
        OCI_NONDISTRIBUTABLE_LAYER_GZIP,
        OCI_NONDISTRIBUTABLE_LAYER_ZSTD,
        DOCKER_FOREIGN_LAYER,
        DOCKER_FOREIGN_LAYER_GZIP,
    }
)
_MANIFEST_KINDS: Final = MANIFESTS | INDEXES | SCHEMA1 | {OCI_ARTIFACT_MANIFEST}

# RFC 6838 allows less; what real tools push is refused only where it could not be shown
# in a header or stored in a database column.
_ACCEPTED: Final = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)


def is_manifest(media_type: str) -> bool:
    """Say whether it is an image manifest this registry accepts (OCI or Docker schema 2)."""
    return media_type in MANIFESTS


def is_index(media_type: str) -> bool:
    """Say whether it is an image index or a Docker manifest list."""
    return media_type in INDEXES


def is_manifest_kind(media_type: str) -> bool:
    """Say whether content of this type lives under `manifests`, also where we refuse it."""
    return media_type in _MANIFEST_KINDS


def is_distributable(media_type: str) -> bool:
    """Say whether content of this type is expected in a registry.

    OCI's non-distributable and Docker's foreign layers are fetched from their `urls`.
    """
    return media_type not in _NON_DISTRIBUTABLE


def is_acceptable(media_type: str) -> bool:
    """Say whether the text may stand as a media type: 1 to 255 printable ASCII characters."""
    return _ACCEPTED.fullmatch(media_type) is not None


def bare(content_type: str) -> str:
    """Return a Content-Type without parameters, in lower case.

    Source: distribution-spec, "Pushing Manifests" (parameters are to be ignored).
    """
    return content_type.partition(";")[0].strip().lower()
