"""Artifacts: files under a manifest of their own, which may refer to an image as their subject.

Source: image-spec, manifest.md, "Guidelines for Artifact Usage".
"""

import asyncio
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import ManifestInvalid, Unavailable
from entrepot.oci.image_config import to_json_bytes
from entrepot.oci.manifest import parse_manifest
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import ImageTarget
from entrepot.services.image_editing import put_content, put_file
from entrepot.services.layer_spool import SpooledLayer
from entrepot.services.progress import ManifestFinished, Planned, Report

TITLE: Final = "org.opencontainers.image.title"
"""The annotation that tells a file's name, for whoever fetches it."""

CREATED: Final = "org.opencontainers.image.created"
DEFAULT_TYPE: Final = "application/vnd.unknown.artifact.v1"
DEFAULT_FILE_TYPE: Final = "application/octet-stream"

_EMPTY: Final = b"{}"
_EMPTY_DESCRIPTOR: Final = Descriptor(
    media_types.OCI_EMPTY, Digest.of(_EMPTY), len(_EMPTY), data=_EMPTY
)
_READ: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A file of an artifact; its title is its name unless the annotations tell another."""

    path: Path
    media_type: str = DEFAULT_FILE_TYPE
    annotations: Mapping[str, str] = field(default_factory=dict)


async def attach(
    subject: Descriptor | None,
    files: Sequence[ArtifactFile],
    artifact_type: str,
    annotations: Mapping[str, str],
    target: ImageTarget,
    tags: Sequence[Tag],
    report: Report,
) -> Descriptor:
    """Publish files as an artifact that refers to `subject` (None: to nothing).

    The same files give the same digest: no time is told unless the annotations do. Raise
    ManifestInvalid for bad media types, Unavailable for files that cannot be read or change
    meanwhile, and what the target raises.
    """
    opened: list[SpooledLayer] = []
    try:
        for file in files:
            one = await asyncio.to_thread(_opened, file)
            opened.append(one)  # one by one: if the next cannot be opened, these are closed
        report(Planned(len(opened) + 1, sum(one.descriptor.size for one in opened)))
        await put_content(replace(_EMPTY_DESCRIPTOR, data=None), _EMPTY, target, report)
        for one in opened:
            await put_file(one.described(_bare(one.descriptor)), target, report)
        layers = [one.descriptor for one in opened] or [_EMPTY_DESCRIPTOR]
        content = _document(subject, layers, artifact_type, annotations)
        root = Descriptor(media_types.OCI_MANIFEST, Digest.of(content), len(content))
        await target.publish(root, content, tags)
        report(ManifestFinished(root))
        return root
    finally:
        for one in opened:
            one.close()


def _document(
    subject: Descriptor | None,
    layers: Sequence[Descriptor],
    artifact_type: str,
    annotations: Mapping[str, str],
) -> bytes:
    if not media_types.is_acceptable(artifact_type) or "/" not in artifact_type:
        raise ManifestInvalid(
            f"{artifact_type[:80]!r} is no artifact type; use a media type, for example "
            "application/vnd.example.sbom.v1"
        )
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": _EMPTY_DESCRIPTOR.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    if subject is not None:
        document["subject"] = _bare(subject).to_json()
    if annotations:
        document["annotations"] = dict(sorted(annotations.items()))
    content = to_json_bytes(document)
    parse_manifest(content)
    return content


def _bare(descriptor: Descriptor) -> Descriptor:
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)


def _opened(file: ArtifactFile) -> SpooledLayer:
    name = str(file.path)
    hasher, size = Hasher(), 0
    try:
        if not stat.S_ISREG(file.path.stat().st_mode):
            # It is read twice, which a pipe cannot be; opening one may wait for ever.
            raise Unavailable(f"{name!r} is no regular file; write what is to be attached to one")
        content = cast(BinaryIO, file.path.open("rb", buffering=0))
        try:
            while chunk := content.read(_READ):
                hasher.update(chunk)
                size += len(chunk)
        except BaseException:
            content.close()
            raise
    except OSError as error:
        raise Unavailable(f"the file {name!r} cannot be read: {error.strerror}") from error
    annotations = {TITLE: file.path.resolve().name, **file.annotations}
    descriptor = Descriptor(file.media_type, hasher.digest(), size, annotations)
    return SpooledLayer(descriptor, content, f"the file {name!r}")
