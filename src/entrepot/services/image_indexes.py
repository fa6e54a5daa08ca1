"""Indexes of images: made, added to and taken from; the images come along."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestUnknown, Unsupported
from entrepot.oci.image_config import parse_config, to_json_bytes
from entrepot.oci.manifest import Index, Manifest, parse_manifest
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import ImageSource, ImageTarget
from entrepot.services.image_content import CONFIGS, read_small_blob
from entrepot.services.image_editing import copy_below
from entrepot.services.progress import ManifestFinished, Report
from entrepot.services.verified_manifest import read_manifest


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An image for an index: where it is, and what the index tells of it. `platform` None is
    that of its config. Of an index its entries are taken, unless `nested`."""

    source: ImageSource
    descriptor: Descriptor
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    nested: bool = False


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What a new index says of itself. `docker` makes it a manifest list, without annotations."""

    docker: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""
    subject: Descriptor | None = None


async def create_index(
    entries: Sequence[IndexEntry],
    settings: IndexSettings,
    target: ImageTarget,
    tags: Sequence[Tag],
    report: Report,
) -> Descriptor:
    """Publish an index of these images, in this order, and copy what the target has not of them.

    Raise Unsupported for annotations in Docker's format, and what the Ends raise.
    """
    media_type = media_types.DOCKER_MANIFEST_LIST if settings.docker else media_types.OCI_INDEX
    oci_only = settings.annotations or settings.artifact_type or settings.subject
    if settings.docker and oci_only:
        raise Unsupported("a Docker manifest list has no annotations, artifact type or subject")
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type, "manifests": []}
    if settings.artifact_type:
        document["artifactType"] = settings.artifact_type
    if settings.subject is not None:
        document["subject"] = replace(settings.subject, annotations={}).to_json()
    if settings.annotations:
        document["annotations"] = dict(settings.annotations)
    return await _publish(document, media_type, entries, target, tags, report)


async def add_to_index(
    source: ImageSource,
    root: Descriptor,
    entries: Sequence[IndexEntry],
    target: ImageTarget,
    tags: Sequence[Tag],
    report: Report,
) -> Descriptor:
    """Publish an index with more images; one for the same platform gives way to the new one.

    The index keeps its media type and all else that it says.
    """
    index, document = await _read(source, root)
    await copy_below(source, target, _manifests(index), report)
    return await _publish(document, root.media_type, entries, target, tags, report)


async def remove_from_index(
    source: ImageSource,
    root: Descriptor,
    unwanted: Sequence[Digest | Platform],
    target: ImageTarget,
    tags: Sequence[Tag],
    report: Report,
) -> Descriptor:
    """Publish an index without some images, and without what attests them. Raise ManifestUnknown
    for one that it does not list."""
    index, document = await _read(source, root)
    gone: set[Digest] = set()
    for one in unwanted:
        found = {entry.digest for entry in index.manifests if _is(entry, one)}
        if not found:
            listed = ", ".join(
                f"{entry.digest} ({entry.platform or 'no platform'})" for entry in index.manifests
            )
            raise ManifestUnknown(f"the index does not list {one}; it lists {listed or 'nothing'}")
        gone |= found
    attested = {str(digest) for digest in gone}
    gone |= {
        entry.digest
        for entry in index.manifests
        if entry.annotations.get("vnd.docker.reference.digest") in attested
    }
    kept = [entry for entry in _manifests(index) if entry.digest not in gone]
    await copy_below(source, target, kept, report)
    names = {str(digest) for digest in gone}
    document["manifests"] = [one for one in document["manifests"] if one["digest"] not in names]
    return await _publish(document, root.media_type, (), target, tags, report)


async def _publish(
    document: dict[str, Any],
    media_type: str,
    entries: Sequence[IndexEntry],
    target: ImageTarget,
    tags: Sequence[Tag],
    report: Report,
) -> Descriptor:
    listed = list(document["manifests"])
    for entry in entries:
        for found in await _described(entry):
            await copy_below(entry.source, target, [replace(found, data=None)], report)
            listed = [one for one in listed if not _gives_way(one, found)]
            listed.append(found.to_json())
    content = to_json_bytes(document | {"manifests": listed})
    parse_manifest(content, media_type)
    root = Descriptor(media_type, Digest.of(content), len(content))
    await target.publish(root, content, tags)
    report(ManifestFinished(root))
    return root


async def _described(entry: IndexEntry) -> list[Descriptor]:
    """Return what an entry brings into the index, with its platform."""
    manifest = await read_manifest(entry.source, entry.descriptor)
    plain = replace(
        entry.descriptor, annotations=entry.annotations, platform=entry.platform, data=None
    )
    if isinstance(manifest, Index):
        return [plain] if entry.nested else list(_manifests(manifest))
    artifact_type = None
    if manifest.config.media_type in CONFIGS:
        if entry.platform is None:
            plain = replace(plain, platform=await _platform(entry.source, manifest))
    else:
        artifact_type = manifest.artifact_type
    return [replace(plain, artifact_type=artifact_type)]


async def _platform(source: ImageSource, manifest: Manifest) -> Platform | None:
    platform = parse_config(await read_small_blob(source, manifest.config)).platform
    return platform if platform.os else None


async def _read(source: ImageSource, root: Descriptor) -> tuple[Index, dict[str, Any]]:
    index = await read_manifest(source, root)
    if not isinstance(index, Index):
        raise Unsupported(f"{root.digest} is one image and no index; create an index of it first")
    return index, json.loads(index.content)


def _manifests(index: Index) -> list[Descriptor]:
    return [one for one in index.manifests if media_types.is_manifest_kind(one.media_type)]


def _is(entry: Descriptor, wanted: Digest | Platform) -> bool:
    if isinstance(wanted, Digest):
        return entry.digest == wanted
    return entry.platform is not None and entry.platform.matches(wanted)


def _gives_way(listed: dict[str, Any], new: Descriptor) -> bool:
    there = Descriptor.of_json(listed, "manifests")
    if there.digest == new.digest:
        return True
    if there.platform is None or new.platform is None or there.platform.os == "unknown":
        return False
    features = there.platform.os_version, there.platform.os_features
    same = (new.platform.os_version, new.platform.os_features) == features
    return same and there.platform.matches(new.platform)
