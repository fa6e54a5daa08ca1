"""Transfers of any image graph, whole and broken off anywhere."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ConnectionLost
from entrepot.oci.manifest import Manifest, parse_manifest
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import BlobContent
from entrepot.services.transfer import TransferOptions, transfer
from entrepot.testing.example_images import (
    HERE,
    ExampleImage,
    artifact,
    described,
    document,
    image,
    index,
)
from entrepot.testing.memory_end import MemoryImages
from tests.unit.services.recording_ends import LATEST, Folder, Registry, Told, holding

# Small enough to be shared often, one of them in several chunks.
LAYERS = [b"", b"a", b"bb" * 500, b"large" * 200_000]


@dataclass(frozen=True, repr=False)
class Graph:
    """What the source holds: the root first, and the referrers that are to come with it."""

    parts: tuple[ExampleImage, ...]
    strangers: tuple[ExampleImage, ...]


images = st.builds(
    image,
    st.sampled_from(["x", "y", "z"]),
    layers=st.lists(st.integers(0, len(LAYERS) - 1).map(lambda n: LAYERS[n]), max_size=4),
    docker=st.booleans(),
    odd=st.booleans(),
    compressed=st.just(False),
)
roots = st.recursive(
    images,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda children: index(*((HERE, child) for child in children))
    ),
    max_leaves=6,
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """An image or nested indexes, with referrers of its parts and of each other."""
    root = draw(roots)
    subjects = list(root.manifests)
    referrers = []
    for number in range(draw(st.integers(0, 4))):
        payload = [b"signed", b"%d" % number, LAYERS[2]][draw(st.integers(0, 2))]
        kind = f"application/vnd.example.{number}"
        subject = subjects[draw(st.integers(0, len(subjects) - 1))]
        referrers.append(artifact(subject, kind, payload))
        if draw(st.booleans()):
            # An index may refer too, also to what lists what it lists.
            referrers[-1] = _index_about(subject, subjects[draw(st.integers(0, number))], kind)
        subjects.append(referrers[-1].root)
    return Graph((root, *referrers), (artifact(image("no part of it").root),))


def _index_about(subject: Descriptor, listed: Descriptor, kind: str) -> ExampleImage:
    bare = Descriptor(listed.media_type, listed.digest, listed.size)
    content = document(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "artifactType": kind,
            "manifests": [bare.to_json()],
            "subject": Descriptor(subject.media_type, subject.digest, subject.size).to_json(),
        }
    )
    root = described(content, media_types.OCI_INDEX)
    return ExampleImage(root, {root: content}, {})


def in_order(target: Folder) -> None:
    """Fail unless everything came after all that it refers to, and the tag last of all.

    Only what an index lists and refers to something itself may come before its subject.
    """
    seen: set[Digest] = set(target.before)
    for step in target.order:
        if isinstance(step, Digest) and step in target.images.manifests:
            media_type, content = target.images.manifests[step]
            manifest = parse_manifest(content, media_type)
            assert {*manifest.blobs(), *manifest.children()} <= seen
            if manifest.subject is not None and step in target.images.roots:
                assert manifest.subject.digest in seen
        seen.add(step)  # type: ignore[arg-type]
    assert target.order.count(LATEST) == (1 if LATEST in target.images.tags else 0)
    assert LATEST not in target.order[:-1]


class Breaking:
    """What happens at the n-th call of an End: an error, or the whole transfer is cancelled."""

    def __init__(self, after: int, cancels: bool) -> None:
        self.left = after
        self.cancels = cancels
        self.task: asyncio.Task[object] | None = None

    async def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            if self.cancels and self.task:
                self.task.cancel()
            else:
                raise ConnectionLost("the line is cut; try again")
        await asyncio.sleep(0)


class BreakingEnd(Registry):
    """A target that breaks off at some call, and counts the blobs that it has completed."""

    breaking: Breaking

    async def has_blob(self, descriptor: Descriptor) -> bool:
        await self.breaking.step()
        return await super().has_blob(descriptor)

    async def has_manifest(self, descriptor: Descriptor) -> bool:
        await self.breaking.step()
        return await super().has_manifest(descriptor)

    async def put_blob(self, content: BlobContent) -> None:
        await self.breaking.step()
        await super().put_blob(BreakingContent(content, self.breaking))

    async def put_manifest(self, descriptor: Descriptor, content: bytes) -> None:
        await self.breaking.step()
        await super().put_manifest(descriptor, content)

    async def publish(self, root: Descriptor, content: bytes, tags: Sequence[Tag]) -> None:
        await self.breaking.step()
        await super().publish(root, content, tags)


class BreakingFolder(BreakingEnd):
    mount = None  # type: ignore[assignment]


class BreakingContent:
    """Content that may break off behind every chunk."""

    def __init__(self, content: BlobContent, breaking: Breaking) -> None:
        self.content = content
        self.descriptor = content.descriptor
        self.breaking = breaking

    async def read(self, *arguments):  # type: ignore[no-untyped-def]
        async for chunk in self.content.read(*arguments):
            yield chunk
            await self.breaking.step()


def whole(graph: Graph) -> tuple[set[Digest], set[Digest]]:
    """Return the digests of the blobs and manifests that are to arrive."""
    return (
        {one.digest for part in graph.parts for one in part.blobs},
        {one.digest for part in graph.parts for one in part.manifests},
    )


@given(graphs(), st.integers(1, 5), st.sampled_from([Folder, Registry]))
def test_exactly_the_graph_arrives_in_order_each_part_once(
    graph: Graph, jobs: int, kind: type[Folder]
) -> None:
    source, target, told = holding(*graph.parts, *graph.strangers), kind(), Told()
    options = TransferOptions(jobs=jobs, referrers=True)
    result = asyncio.run(transfer(source, LATEST, target, [LATEST], options, told))
    blobs, manifests = whole(graph)
    assert target.images.blobs.keys() == blobs
    assert target.images.manifests.keys() == manifests
    assert target.images.tags == {LATEST: graph.parts[0].root.digest}
    assert result.manifests == len(manifests)
    assert result.copied_bytes == result.total_bytes == target.received
    assert max((n for (name, _), n in source.calls.items() if name == "blob"), default=1) == 1
    assert max(n for (name, _), n in source.calls.items() if name == "manifest") == 1
    in_order(target)
    assert told.warnings == ""


@given(
    graphs(),
    st.integers(1, 60),
    st.booleans(),
    st.sampled_from([BreakingFolder, BreakingEnd]),
)
def test_a_transfer_that_broke_off_anywhere_goes_on_where_it_was(
    graph: Graph, after: int, cancels: bool, kind: type[BreakingEnd]
) -> None:
    images = MemoryImages()
    source = holding(*graph.parts)
    options = TransferOptions(jobs=2, referrers=True)
    completed: Counter[Digest] = Counter()
    received = 0

    async def run(breaking: Breaking) -> None:
        nonlocal received
        target = kind(images)
        target.breaking = breaking
        breaking.task = asyncio.current_task()
        try:
            await transfer(source, LATEST, target, [LATEST], options, Told())
        finally:
            in_order(target)
            completed.update(step for step in target.order if step in images.blobs)
            received += target.received
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not others

    try:
        asyncio.run(run(Breaking(after, cancels)))
    except (ConnectionLost, asyncio.CancelledError):
        pass
    else:
        assert images.tags
    asyncio.run(run(Breaking(0, cancels)))
    blobs, manifests = whole(graph)
    assert images.blobs.keys() == blobs
    assert images.manifests.keys() == manifests
    assert images.tags == {LATEST: graph.parts[0].root.digest}
    assert set(completed.values()) <= {1}
    # The End keeps what it has of unfinished blobs: nothing at all is sent twice.
    assert received == sum(len(content) for content in images.blobs.values())


@given(images, st.sampled_from(["docker", "oci"]))
def test_conversion_there_and_back_keeps_the_layers(example: ExampleImage, first: str) -> None:
    other = "oci" if first == "docker" else "docker"
    ends = [holding(example), Folder(), Folder()]
    for source, target, format in zip(ends, ends[1:], (first, other), strict=False):
        options = TransferOptions(format=format)  # type: ignore[arg-type]
        asyncio.run(transfer(source, LATEST, target, [LATEST], options, Told()))
    contents = []
    for end in ends:
        media_type, content = end.images.manifests[end.images.tags[LATEST]]
        manifest = parse_manifest(content, media_type)
        assert isinstance(manifest, Manifest)
        contents.append([one.digest for one in (manifest.config, *manifest.layers)])
        assert json.loads(content)["mediaType"] == media_type
    assert contents[0] == contents[1] == contents[2]
