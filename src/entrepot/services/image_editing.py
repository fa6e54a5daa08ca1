"""Image editing: an image is read into a draft, changed, and published as a new one.

Bytes that need not change do not: layers are copied or mounted as they are, and a draft in which
nothing changed is the image it was. The same edit of the same image gives the same digest.
What can be changed stands in `image_layers`, `image_settings`, `rebasing` and `flattening`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestUnknown
from entrepot.oci.image_config import ImageConfig, new_config, to_json_bytes
from entrepot.oci.manifest import Index, Manifest
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import CanMount, ImageSource, ImageTarget
from entrepot.services.graph_copy import GraphCopy
from entrepot.services.image_content import Image, read_image
from entrepot.services.layer_spool import SpooledLayer
from entrepot.services.platform_selection import select
from entrepot.services.progress import BlobFinished, ManifestFinished, Planned, Report
from entrepot.services.verified_blob import VerifiedBlob
from entrepot.services.verified_manifest import read_manifest

JOBS: Final = 4

_NOWHERE: Final = cast(ImageSource, None)
"""The source of a blob whose descriptor embeds it."""

EPOCH: Final = "1970-01-01T00:00:00Z"
"""When an image was made that is to come out the same every time, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class DraftLayer:
    """A layer of a draft, and where its bytes are: in an End, or in a file here."""

    descriptor: Descriptor
    origin: ImageSource | SpooledLayer


@dataclass(frozen=True, slots=True)
class Draft:
    """An image being edited. `document` is its manifest without config and layers, and `image`
    what it was made from, None if from nothing."""

    document: Mapping[str, Any]
    config: ImageConfig
    layers: tuple[DraftLayer, ...]
    image: Image | None = None
    source: ImageSource | None = None

    @property
    def media_type(self) -> str:
        """The manifest's media type, which OCI manifests may leave to who refers to them."""
        own = self.document.get("mediaType")
        return str(own or (self.image and self.image.manifest.media_type))

    @property
    def is_docker(self) -> bool:
        """Whether it speaks in Docker's media types."""
        return self.media_type == media_types.DOCKER_MANIFEST

    @property
    def annotations(self) -> dict[str, str]:
        """The manifest's annotations."""
        return dict(self.document.get("annotations") or {})

    def with_annotations(self, annotations: Mapping[str, str]) -> "Draft":
        """Return the draft with these annotations instead; OCI only, Docker has none."""
        document = {key: value for key, value in self.document.items() if key != "annotations"}
        told = {"annotations": dict(annotations)} if annotations else {}
        return replace(self, document=document | told)


Change = Callable[[Draft], Awaitable[Draft]]
"""An edit: a draft in, another out."""


@dataclass(frozen=True, slots=True)
class EditOptions:
    """Which images of an index are edited, and what becomes of it.

    `platform` chooses one (for an index it is needed unless `everywhere`). With `keep_index` the
    result is the index with the edited image in its place, else the edited image alone.
    `everywhere` edits all images and keeps the index.
    """

    platform: Platform | None = None
    keep_index: bool = False
    everywhere: bool = False
    jobs: int = JOBS


async def edit(
    source: ImageSource,
    root: Descriptor,
    change: Change,
    target: ImageTarget,
    tags: Sequence[Tag],
    report: Report,
    options: EditOptions | None = None,
) -> Descriptor:
    """Apply a change to an image, publish the result on `target` and return its descriptor.

    Raise Unsupported or ManifestUnknown if `root` is an index and the platform is not told or not
    there, and what the change and the Ends raise. The caller commits and closes the target.
    """
    chosen = options or EditOptions()
    manifest = await read_manifest(source, root)
    if isinstance(manifest, Manifest):
        return await publish(await change(await open_draft(source, root)), target, tags, report)
    if chosen.everywhere:
        images = [one for one in manifest.manifests if _is_image(one)]
    else:
        images = [await _chosen(source, root, chosen.platform, report)]
        if not chosen.keep_index:
            draft = await change(await open_draft(source, images[0]))
            return await publish(draft, target, tags, report)
    edited: dict[Digest, Descriptor] = {}
    for image in images:
        draft = await change(await open_draft(source, image))
        stored, content = await store(draft, target, report)
        await target.put_manifest(stored, content)
        report(ManifestFinished(stored))
        platform = draft.config.platform if image.platform else None
        edited[image.digest] = replace(
            stored, annotations=image.annotations, platform=_same(image.platform, platform)
        )
    return await _publish_index(source, root, manifest, edited, target, tags, report, chosen.jobs)


async def open_draft(source: ImageSource, descriptor: Descriptor) -> Draft:
    """Read an image to be edited. Raise Unsupported for an index or an artifact."""
    image = await read_image(source, descriptor)
    document = json.loads(image.manifest.content)
    for name in ("config", "layers"):
        document.pop(name, None)
    layers = tuple(DraftLayer(layer, source) for layer in image.manifest.layers)
    return Draft(document, image.config, layers, image, source)


def new_draft(platform: Platform, *, docker: bool = False) -> Draft:
    """Return an image without layers: `FROM scratch`."""
    media_type = media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST
    return Draft({"schemaVersion": 2, "mediaType": media_type}, new_config(platform), ())


async def publish(
    draft: Draft, target: ImageTarget, tags: Sequence[Tag], report: Report
) -> Descriptor:
    """Bring all of a draft to the target and name it; return the new image's descriptor."""
    stored, content = await store(draft, target, report)
    await target.publish(stored, content, tags)
    report(ManifestFinished(stored))
    return stored


async def store(draft: Draft, target: ImageTarget, report: Report) -> tuple[Descriptor, bytes]:
    """Bring a draft's blobs to the target; return its manifest, which is not there yet."""
    config, content = _config(draft)
    document = _document(draft, config)
    manifest = to_json_bytes(document)
    if draft.image is not None and json.loads(draft.image.manifest.content) == document:
        manifest = draft.image.manifest.content  # as it was written, byte for byte
    blobs = {layer.descriptor.digest: layer for layer in draft.layers}
    report(Planned(len(blobs) + 1, sum(one.descriptor.size for one in blobs.values())))
    places = asyncio.Semaphore(JOBS)

    async def bring(layer: DraftLayer) -> None:
        async with places:
            await _bring(layer.descriptor, layer.origin, target, report)

    await _all(bring(layer) for layer in blobs.values() if layer.descriptor.is_distributable)
    await put_content(replace(config, data=None), content, target, report)
    return Descriptor(draft.media_type, Digest.of(manifest), len(manifest)), manifest


async def put_content(
    descriptor: Descriptor, content: bytes, target: ImageTarget, report: Report
) -> None:
    """Store a small blob unless the target has it."""
    if await target.has_blob(descriptor):
        report(BlobFinished(descriptor, "present"))
        return
    embedded = replace(descriptor, data=content)
    await target.put_blob(VerifiedBlob(_NOWHERE, embedded, report))
    report(BlobFinished(descriptor, "copied"))


async def put_file(layer: SpooledLayer, target: ImageTarget, report: Report) -> None:
    """Store a blob that is in a file here unless the target has it."""
    await _bring(layer.descriptor, layer, target, report)


async def copy_below(
    source: ImageSource,
    target: ImageTarget,
    images: Sequence[Descriptor],
    report: Report,
    jobs: int = JOBS,
) -> None:
    """Bring manifests that an index lists to the target, with all that they consist of."""
    try:
        async with asyncio.TaskGroup() as group:
            graph = GraphCopy(source, target, report, group, jobs=jobs)
            for image in images:
                await graph.begin(image, ())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _publish_index(
    source: ImageSource,
    root: Descriptor,
    index: Index,
    edited: Mapping[Digest, Descriptor],
    target: ImageTarget,
    tags: Sequence[Tag],
    report: Report,
    jobs: int,
) -> Descriptor:
    others = [
        one
        for one in index.manifests
        if one.digest not in edited and media_types.is_manifest_kind(one.media_type)
    ]
    await copy_below(source, target, others, report, jobs)
    document = json.loads(index.content)
    for number, one in enumerate(index.manifests):
        if one.digest in edited:
            document["manifests"][number] |= edited[one.digest].to_json()
            document["manifests"][number].pop("data", None)
    content = to_json_bytes(document)
    stored = Descriptor(root.media_type, Digest.of(content), len(content))
    await target.publish(stored, content, tags)
    report(ManifestFinished(stored))
    return stored


async def _chosen(
    source: ImageSource, root: Descriptor, platform: Platform | None, report: Report
) -> Descriptor:
    if platform is None:
        raise ManifestUnknown(
            f"{root.digest} is an index of several images; tell which with --platform"
        )
    return (await select(source, root, [platform], False, report)).root


def _is_image(descriptor: Descriptor) -> bool:
    platform = descriptor.platform
    attests = platform is not None and platform.os == "unknown"
    return media_types.is_manifest(descriptor.media_type) and not attests


def _same(before: Platform | None, after: Platform | None) -> Platform | None:
    """Keep the words of the index unless the image is for another platform now."""
    if before is None or after is None or before.matches(after):
        return before
    return after


def _config(draft: Draft) -> tuple[Descriptor, bytes]:
    kind = media_types.DOCKER_CONFIG if draft.is_docker else media_types.OCI_CONFIG
    content = draft.config.to_bytes()
    image = draft.image
    if image is not None and image.config.document == draft.config.document:
        if image.config.content:
            content = image.config.content
        return replace(image.manifest.config), content
    return Descriptor(kind, Digest.of(content), len(content)), content


def _document(draft: Draft, config: Descriptor) -> dict[str, Any]:
    document = dict(draft.document)
    annotations = document.pop("annotations", None)
    document |= {
        "config": _as_written(draft, config),
        "layers": [_as_written(draft, layer.descriptor) for layer in draft.layers],
    }
    return document | ({"annotations": annotations} if annotations else {})


def _as_written(draft: Draft, descriptor: Descriptor) -> dict[str, Any]:
    """Return a descriptor as the image had it, with members that are not known here."""
    if draft.image is not None:
        document = json.loads(draft.image.manifest.content)
        for one in (document["config"], *document["layers"]):
            if one.get("digest") == str(descriptor.digest):
                return dict(one)
    return descriptor.to_json()


async def _bring(
    descriptor: Descriptor,
    origin: ImageSource | SpooledLayer,
    target: ImageTarget,
    report: Report,
) -> None:
    if await target.has_blob(descriptor):
        report(BlobFinished(descriptor, "present"))
        return
    if isinstance(origin, SpooledLayer):
        origin = _here(origin)
    elif isinstance(target, CanMount) and await target.mount(descriptor, origin):
        report(BlobFinished(descriptor, "mounted"))
        return
    blob = VerifiedBlob(origin, descriptor, report)
    try:
        await target.put_blob(blob)
    finally:
        await blob.close()
    report(BlobFinished(descriptor, "copied"))


async def _all(work: Any) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


class _HereBlobs:
    """What VerifiedBlob needs of a source, for a blob that is in a file here."""

    def __init__(self, layer: SpooledLayer) -> None:
        self._layer = layer

    async def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        chunks = self._layer.packed(offset)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk


def _here(layer: SpooledLayer) -> ImageSource:
    return cast(ImageSource, _HereBlobs(layer))
