"""Graph copy: the manifests below a root, and their blobs, each brought to the target once.

A single walk goes through the graph depth first and starts a task per image manifest and per
blob, as many as there are places. So what is held is bounded however large the graph is; only
digests and sizes are remembered of what is done.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, Literal, TypeVar

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestInvalid
from entrepot.oci.manifest import Index, Manifest
from entrepot.ports.image_end import CanMount, ImageSource, ImageTarget
from entrepot.rules import platform_choice
from entrepot.services.conversion import Converted, Format, convert_index, convert_manifest
from entrepot.services.progress import (
    BlobFinished,
    ManifestFinished,
    Planned,
    Report,
    Warned,
)
from entrepot.services.verified_blob import verified_blob
from entrepot.services.verified_manifest import (
    MAX_DEPTH,
    MAX_MANIFESTS,
    read_manifest,
    too_deep,
    too_many,
)

Result = TypeVar("Result")
How = Literal["copied", "present", "mounted", "skipped"]
Path = tuple[Digest, ...]
"""The indexes on the way down from the root."""

_AHEAD: Final = 2
"""How many image manifests are at work per blob that is: the next ones' blobs are known early."""


class GraphCopy:
    """Copying with `jobs` blobs at a time, in tasks of `group`; its first error ends all.

    An image manifest that the target has is believed to be whole if the target can mount, which
    only registries can: they take no manifest without its blobs. In a folder or archive other
    programs may have left less, and looking is cheap. Indexes are never believed, because
    registries may hold indexes of images they have not.
    """

    def __init__(
        self,
        source: ImageSource,
        target: ImageTarget,
        report: Report,
        group: asyncio.TaskGroup,
        *,
        jobs: int,
        format: Format | None = None,
        foreign_layers: bool = False,
    ) -> None:
        self.counts: dict[How, int] = {"copied": 0, "present": 0, "mounted": 0, "skipped": 0}
        self.copied_bytes = 0
        self.replaced: dict[Digest, Digest] = {}
        self.manifests: dict[Digest, asyncio.Future[Descriptor]] = {}
        """What has been begun, by its digest in the source, and what it is in the target."""

        self.planned = Planned(0, 0)
        self._source = source
        self._target = target
        self._report = report
        self._group = group
        self._format = format
        self._foreign_layers = foreign_layers
        self._blobs: dict[Digest, asyncio.Future[None]] = {}
        self._skipped: set[Digest] = set()
        self._sizes: dict[Digest, int] = {}
        self._images = asyncio.Semaphore(jobs * _AHEAD)
        self._places = asyncio.Semaphore(jobs)
        self._believing = isinstance(target, CanMount)

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Do some work beside the walk. Raise CancelledError if all is ending."""
        try:
            return self._group.create_task(work)
        except RuntimeError:
            work.close()
            raise asyncio.CancelledError from None

    def stop_converting(self) -> None:
        """Copy as it is whatever is begun from here on."""
        self._format = None

    async def below(
        self, descriptor: Descriptor, manifest: Manifest | Index, path: Path = ()
    ) -> Converted:
        """Copy all that a manifest refers to; return it as it is to be stored."""
        if isinstance(manifest, Index):
            return await self._below_index(descriptor, manifest, (*path, descriptor.digest))
        stored = self._convert(descriptor, manifest)
        if not (self._believing and await self._target.has_manifest(stored.descriptor)):
            await self._copy_blobs(descriptor, (manifest.config, *manifest.layers))
        return stored

    async def begin(self, descriptor: Descriptor, path: Path) -> asyncio.Future[Descriptor]:
        """Begin to copy a manifest that others list; return what it is going to be in the target.

        An index is done on return, an image is copied by a task of its own.
        """
        known = self.manifests.get(descriptor.digest)
        if known is None:
            done = self.register(descriptor)
        elif descriptor.digest in path:
            raise ManifestInvalid(f"the index {descriptor.digest} lists itself; build it anew")
        else:
            self._agree(descriptor)
            return known
        if not media_types.is_index(descriptor.media_type):
            await self.in_place(self._copy_image(descriptor, done))
            return done
        if len(path) >= MAX_DEPTH:
            raise too_deep()
        index = await read_manifest(self._source, descriptor)
        stored = await self.below(descriptor, index, path)
        if not await self._target.has_manifest(stored.descriptor):
            await self._target.put_manifest(stored.descriptor, stored.content)
        self.finish(stored.descriptor, done)
        return done

    async def in_place(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Wait for a place for an image manifest, and start work that gives it back."""
        try:
            await self._images.acquire()
        except BaseException:
            work.close()
            raise
        task = self.start(work)
        task.add_done_callback(lambda _: self._images.release())
        return task

    def register(self, descriptor: Descriptor) -> asyncio.Future[Descriptor]:
        """Note that a manifest is being copied; `finish` tells that it has been."""
        if len(self.manifests) >= MAX_MANIFESTS:
            raise too_many()
        self._agree(descriptor)
        done: asyncio.Future[Descriptor] = asyncio.get_running_loop().create_future()
        self.manifests[descriptor.digest] = done
        return done

    def finish(self, stored: Descriptor, done: asyncio.Future[Descriptor]) -> None:
        """Tell that a manifest is in the target."""
        done.set_result(stored)
        self._report(ManifestFinished(stored))

    async def _below_index(self, descriptor: Descriptor, index: Index, path: Path) -> Converted:
        kept = [entry for entry in index.manifests if self._is_kept(entry)]
        listed = [entry for entry in kept if media_types.is_manifest_kind(entry.media_type)]
        begun = [(entry, await self.begin(entry, path)) for entry in listed]
        others = [entry for entry in kept if not media_types.is_manifest_kind(entry.media_type)]
        await self._copy_blobs(descriptor, others)
        children = {entry.digest: entry for entry in others}
        children |= {entry.digest: await future for entry, future in begun}
        if self._format is None:
            return Converted(descriptor, index.content)
        return self._told(descriptor, convert_index(descriptor, index, self._format, children))

    def _is_kept(self, entry: Descriptor) -> bool:
        if self._format != "docker" or platform_choice.ATTESTED_KIND not in entry.annotations:
            return True
        self._report(
            Warned(f"the attestation {entry.digest} is left out: Docker's format has none")
        )
        return False

    async def _copy_image(self, descriptor: Descriptor, done: asyncio.Future[Descriptor]) -> None:
        target = self._target
        # What is going to be converted must be read to know what it will be in the target.
        there = self._format is None and await target.has_manifest(descriptor)
        if there and self._believing:
            self.finish(descriptor, done)
            return
        manifest = await read_manifest(self._source, descriptor)
        assert isinstance(manifest, Manifest), "indexes are walked, not copied by a task"
        stored = self._convert(descriptor, manifest)
        if self._format is not None:
            there = await target.has_manifest(stored.descriptor)
        if not (there and self._believing):
            await self._copy_blobs(descriptor, (manifest.config, *manifest.layers))
        if not there:
            await target.put_manifest(stored.descriptor, stored.content)
        self.finish(stored.descriptor, done)

    def _convert(self, descriptor: Descriptor, manifest: Manifest) -> Converted:
        if self._format is None:
            return Converted(descriptor, manifest.content)
        return self._told(descriptor, convert_manifest(descriptor, manifest, self._format))

    def _told(self, descriptor: Descriptor, stored: Converted) -> Converted:
        if stored.descriptor.digest != descriptor.digest:
            self.replaced[descriptor.digest] = stored.descriptor.digest
        if stored.lost:
            self._report(
                Warned(
                    f"lost from {descriptor.digest}, as Docker's format has no place for it: "
                    + ", ".join(stored.lost)
                )
            )
        return stored

    async def _copy_blobs(self, owner: Descriptor, listed: Iterable[Descriptor]) -> None:
        """Bring a manifest's blobs to the target; return when all are there."""
        new, waiting = [], []
        for blob in {blob.digest: blob for blob in listed}.values():
            self._agree(blob)
            if not (blob.is_distributable or self._foreign_layers):
                if blob.digest not in self._skipped:
                    self._skip(owner, blob)
                continue
            done = self._blobs.get(blob.digest)
            if done is None:
                done = self._blobs[blob.digest] = asyncio.get_running_loop().create_future()
                new.append((blob, done))
            waiting.append(done)
        self._plan([blob for blob, _ in new])
        for blob, done in new:
            await self._places.acquire()
            self.start(self._copy_blob(blob, done))
        for done in waiting:
            await done

    def _skip(self, owner: Descriptor, blob: Descriptor) -> None:
        self._skipped.add(blob.digest)
        self.counts["skipped"] += 1
        self._report(BlobFinished(blob, "skipped"))
        self._report(
            Warned(
                f"the layer {blob.digest} of {owner.digest} is not to be distributed and was left "
                "out; whoever runs the image fetches it from where its publisher keeps it"
            )
        )

    def _plan(self, blobs: Sequence[Descriptor]) -> None:
        if blobs:
            size = sum(blob.size for blob in blobs)
            self.planned = Planned(self.planned.blobs + len(blobs), self.planned.bytes + size)
            self._report(self.planned)

    async def _copy_blob(self, blob: Descriptor, done: asyncio.Future[None]) -> None:
        try:
            how = await self._bring(blob)
            self.counts[how] += 1
            done.set_result(None)
            self._report(BlobFinished(blob, how))
        finally:
            self._places.release()

    async def _bring(self, blob: Descriptor) -> How:
        target = self._target
        if await target.has_blob(blob):
            return "present"
        if isinstance(target, CanMount) and await target.mount(blob, self._source):
            return "mounted"
        content = verified_blob(self._source, blob, self._report)
        try:
            await target.put_blob(content)
        finally:
            self.copied_bytes += content.read_bytes
            await content.close()
        return "copied"

    def _agree(self, descriptor: Descriptor) -> None:
        """Refuse a graph that states two sizes of the same content: one of them is a lie."""
        size = self._sizes.setdefault(descriptor.digest, descriptor.size)
        if size != descriptor.size:
            raise ManifestInvalid(
                f"{descriptor.digest} has {size} bytes in one place of the image and "
                f"{descriptor.size} in another; the image was made wrongly, build it anew",
                detail={"digest": str(descriptor.digest)},
            )
