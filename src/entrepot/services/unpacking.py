"""Unpacking: an image's layers become the files of a root file system.

A layer is fetched whole and verified before anything of it is applied, the next ones meanwhile;
its diff ID is checked while it is applied, in a directory that gets its name only at the end.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from entrepot.oci.descriptor import Descriptor
from entrepot.ports.image_end import ImageSource
from entrepot.ports.root_file_system import RootFileSystem, Skipped, UnpackLimits
from entrepot.services.image_content import Image, layer_name, read_image, require_layers
from entrepot.services.layer_spool import SpooledLayer, read_ahead, spool_layer
from entrepot.services.progress import BlobFinished, Planned, Report, Warned

_MOST_WARNINGS: Final = 20


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What has become of an image: `total_bytes` is the length of all files that were written, and
    `skipped` what could not be made here (the first thousand)."""

    image: Descriptor
    layers: int
    entries: int
    total_bytes: int
    skipped: tuple[Skipped, ...]


async def unpack(
    source: ImageSource,
    root: Descriptor,
    target: RootFileSystem,
    report: Report,
    *,
    limits: UnpackLimits | None = None,
    jobs: int = 3,
) -> Unpacked:
    """Unpack the image `root` into `target` and commit it; the caller closes `target`.

    At most `jobs` layers are fetched ahead. Raise Unsupported for an index or artifact,
    ContentInvalid for layers that are no layers or would do harm, DigestInvalid, StoreFull,
    Unavailable, and what the source raises; then nothing of the image is left after `close`.
    """
    image = await read_image(source, root)
    require_layers(image)
    layers = image.manifest.layers
    report(Planned(len(layers), sum(layer.size for layer in layers)))
    bounds = limits or UnpackLimits()
    async with _fetched(source, image, target, report, jobs) as fetched:
        async for number, layer in fetched:
            content = layer.content(
                image.config.diff_ids[number], ratio=bounds.ratio, ratio_from=bounds.ratio_from
            )
            chunks = read_ahead(content)
            try:
                await target.apply(chunks, layer.where)
            finally:
                await asyncio.to_thread(chunks.close)
                layer.close()
            report(BlobFinished(layer.descriptor, "copied"))
    await target.commit()
    for one in target.skipped[:_MOST_WARNINGS]:
        report(Warned(f"{one.layer}, entry {one.name}: {one.reason}"))
    if len(target.skipped) > _MOST_WARNINGS:
        report(Warned(f"{len(target.skipped) - _MOST_WARNINGS} more entries were left out"))
    return Unpacked(root, len(layers), target.entries, target.total_bytes, target.skipped)


@asynccontextmanager
async def _fetched(
    source: ImageSource, image: Image, target: RootFileSystem, report: Report, jobs: int
) -> AsyncIterator[AsyncIterator[tuple[int, SpooledLayer]]]:
    """Fetch layers ahead, and give them out in their order."""
    free = asyncio.Semaphore(jobs)
    tasks: list[asyncio.Task[SpooledLayer]] = []

    async def fetch(number: int, layer: Descriptor) -> SpooledLayer:
        await free.acquire()
        where = layer_name(number + 1, layer)
        return await spool_layer(source, layer, target.scratch, where, report)

    async def in_order() -> AsyncIterator[tuple[int, SpooledLayer]]:
        for number, task in enumerate(tasks):
            yield number, await task
            free.release()

    try:
        tasks += [
            asyncio.create_task(fetch(number, layer))
            for number, layer in enumerate(image.manifest.layers)
        ]
        yield in_order()
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, SpooledLayer):
                result.close()
