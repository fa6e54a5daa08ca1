"""Transfer: the one verb that copies an image graph from one End to another.

What is here is the order of things; walking and copying stand in `graph_copy`, what refers to the
image in `referrer_copy`, choosing among platforms in `platform_selection`, other formats in
`conversion`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import ImageSource, ImageTarget
from entrepot.services.conversion import Converted
from entrepot.services.graph_copy import GraphCopy
from entrepot.services.platform_selection import Selection, select
from entrepot.services.progress import Finished, ManifestFinished, Report, Transferred
from entrepot.services.referrer_copy import ReferrerCopy

__all__ = ["TransferOptions", "Transferred", "transfer"]


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """What is copied of an image, and how.

    `jobs` blobs are copied at a time. `platforms` None means everything; one platform makes the
    image for it the root, several (or one with `keep_index`) an index of just these. `referrers`
    copies what names the image or its parts as subject, of any type or of `artifact_types` only.
    `format` converts. `foreign_layers` copies also layers that are not to be distributed, if the
    source holds them; their URLs are never followed.
    """

    jobs: int = 6
    platforms: tuple[Platform, ...] | None = None
    referrers: bool = False
    artifact_types: tuple[str, ...] = ()
    format: Literal["docker", "oci"] | None = None
    keep_index: bool = False
    foreign_layers: bool = False


async def transfer(
    source: ImageSource,
    reference: Tag | Digest | None,
    target: ImageTarget,
    tags: Sequence[Tag],
    options: TransferOptions,
    report: Report,
    *,
    expected: Digest | None = None,
) -> Transferred:
    """Copy an image and all it consists of to the target; its tags come last.

    `reference` None means what the source's address names, and `expected` is the only digest that
    what arrives may have, if the target's address names one. What the target has is not sent
    again, so a transfer that was broken off goes on where it was. The first error ends all that
    is under way and is raised; no tag has been set then. Committing and closing the Ends is the
    caller's, who may copy several images into one.

    Raise what the Ends raise; ManifestUnknown if there is no image for a platform; SizeInvalid,
    DigestInvalid and ManifestInvalid for an image that is not what it says or not what is
    expected; Unsupported if it cannot be had in the format.
    """
    named = await source.resolve(reference)
    selection = await select(source, named, options.platforms, options.keep_index, report)
    if options.format is None:
        _refuse_unexpected(selection.root.digest, expected)
    copied = await _copy(source, target, selection, options, report)
    root = copied.root
    _refuse_unexpected(root.descriptor.digest, expected)
    await target.publish(root.descriptor, root.content, tags)
    report(ManifestFinished(root.descriptor))
    counts = copied.graph.counts
    result = Transferred(
        root=root.descriptor,
        tags=tuple(tags),
        copied_blobs=counts["copied"],
        present_blobs=counts["present"],
        mounted_blobs=counts["mounted"],
        copied_bytes=copied.graph.copied_bytes,
        total_bytes=copied.graph.planned.bytes,
        manifests=len(copied.graph.manifests),
        replaced=copied.replaced,
    )
    report(Finished(result))
    return result


def _refuse_unexpected(digest: Digest, expected: Digest | None) -> None:
    if expected not in (None, digest):
        raise DigestInvalid(
            f"what is copied is {digest}, and cannot be stored as {expected}; leave the digest "
            "out of the destination, or name a tag",
            detail={"digest": str(digest)},
        )


@dataclass(frozen=True, slots=True)
class _Copied:
    graph: GraphCopy
    root: Converted
    replaced: Mapping[Digest, Digest]


async def _copy(
    source: ImageSource,
    target: ImageTarget,
    selection: Selection,
    options: TransferOptions,
    report: Report,
) -> _Copied:
    """Copy everything but the root. Raise the first error when nothing is under way any more."""
    failure: BaseException
    try:
        async with asyncio.TaskGroup() as group:
            graph = GraphCopy(
                source,
                target,
                report,
                group,
                jobs=max(options.jobs, 1),
                format=options.format,
                foreign_layers=options.foreign_layers,
            )
            walk = group.create_task(_walk(source, target, selection, options, report, graph))
            # Python 3.11's groups take back their own cancellation only if they are still inside.
            await asyncio.wait([walk])
        return walk.result()
    except BaseExceptionGroup as errors:
        failure = errors.exceptions[0]
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError  # what went wrong on the way out matters no more
    raise failure


async def _walk(
    source: ImageSource,
    target: ImageTarget,
    selection: Selection,
    options: TransferOptions,
    report: Report,
    graph: GraphCopy,
) -> _Copied:
    # What the source says of the root besides (names, URLs) is the source's matter.
    root = replace(selection.root, annotations={}, urls=(), data=None)
    done = graph.register(root)
    stored = await graph.below(root, selection.manifest)
    replaced = graph.replaced
    if selection.replaced is not None:
        replaced = {**replaced, selection.replaced: stored.descriptor.digest}
    if options.referrers:
        # Referrers may refer to the root in every way, so it has to be there, yet without a name.
        if not await target.has_manifest(stored.descriptor):
            await target.put_manifest(stored.descriptor, stored.content)
        done.set_result(stored.descriptor)
        graph.stop_converting()
        referrers = ReferrerCopy(
            source,
            target,
            report,
            graph,
            artifact_types=options.artifact_types,
            jobs=max(options.jobs, 1),
        )
        await referrers.run(replaced)
    return _Copied(graph, stored, replaced)
