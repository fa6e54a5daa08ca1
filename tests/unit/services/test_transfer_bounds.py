"""What a transfer holds at a time, however large the image is."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestInvalid
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import BlobContent
from entrepot.services import graph_copy
from entrepot.services.transfer import TransferOptions, transfer
from entrepot.testing.example_images import HERE, artifact, image, index
from entrepot.testing.memory_end import MemoryEnd, MemoryImages
from tests.unit.services.recording_ends import LATEST, Folder, Registry, Told, holding

JOBS = 3


class Weighing(Registry):
    """A target that takes its time, and notes how much is under way at most."""

    def __init__(self, source: MemoryEnd) -> None:
        super().__init__(MemoryImages())
        self.source = source
        self.most_tasks = self.most_manifests = 0

    async def put_blob(self, content: BlobContent) -> None:
        await self.weigh()
        await super().put_blob(content)

    async def put_manifest(self, descriptor: Descriptor, content: bytes) -> None:
        await self.weigh()
        await super().put_manifest(descriptor, content)

    async def weigh(self) -> None:
        await asyncio.sleep(0)
        read = sum(n for (name, _), n in self.source.calls.items() if name == "manifest")
        self.most_tasks = max(self.most_tasks, len(asyncio.all_tasks()))
        self.most_manifests = max(self.most_manifests, read - len(self.images.manifests))


async def weighed(source: MemoryEnd, *, referrers: bool = False) -> Weighing:
    target = Weighing(source)
    options = TransferOptions(jobs=JOBS, referrers=referrers)
    await transfer(source, LATEST, target, [LATEST], options, Told())
    return target


async def test_a_thousand_layers_make_no_thousand_tasks() -> None:
    example = image(layers=[b"%d" % number for number in range(1000)], compressed=False)
    target = await weighed(holding(example))
    assert len(target.images.blobs) == 1001
    assert target.most_tasks <= 2 + JOBS


async def test_five_hundred_children_are_not_held_at_a_time() -> None:
    children = (image(f"{n}", layers=[b"%d" % n]) for n in range(500))
    example = index(*((Platform("linux", f"cpu{n}"), one) for n, one in enumerate(children)))
    target = await weighed(holding(example))
    assert len(target.images.manifests) == 501
    assert target.most_tasks <= 2 + 3 * JOBS
    assert target.most_manifests <= 2 * JOBS + 1  # and the root


async def test_a_hundred_referrers_are_not_held_at_a_time() -> None:
    example = image()
    signatures = [artifact(example.root, payload=b"%d" % number) for number in range(100)]
    target = await weighed(holding(example, *signatures), referrers=True)
    assert len(target.images.manifests) == 101
    assert target.most_tasks <= 2 + 4 * JOBS
    assert target.most_manifests <= 2 * JOBS + 1


async def test_more_manifests_than_anyone_makes_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graph_copy, "MAX_MANIFESTS", 20)
    children = [image(f"{number}") for number in range(25)]
    target = Folder()
    with pytest.raises(ManifestInvalid, match="in parts"):
        await transfer(
            holding(index(*((HERE, one) for one in children))),
            LATEST,
            target,
            [LATEST],
            TransferOptions(),
            Told(),
        )
    assert not target.images.tags


class OneAtATime(Folder):
    """A target that fails if two manifests are published at the same time."""

    publishing = False

    async def publish(self, root: Descriptor, content: bytes, tags: Sequence[Tag]) -> None:
        assert not self.publishing
        self.publishing = True
        await asyncio.sleep(0)
        await super().publish(root, content, tags)
        self.publishing = False


async def test_referrers_are_published_one_after_the_other() -> None:
    """A registry without a referrers API has a list to read and to write for each."""
    example = image()
    signatures = [artifact(example.root, payload=b"%d" % number) for number in range(9)]
    target = OneAtATime()
    options = TransferOptions(referrers=True)
    await transfer(holding(example, *signatures), LATEST, target, [LATEST], options, Told())
    assert len(target.images.roots) == 10


async def test_a_source_that_lists_a_referrer_twice_has_it_copied_once() -> None:
    example = image()
    signature = artifact(example.root)
    source = holding(example, signature)
    listed = source.referrers

    async def twice(subject: Digest, artifact_type: str | None = None) -> list[Descriptor]:
        found = list(await listed(subject, artifact_type))
        return [*found, *(replace(one, annotations={}) for one in found)]

    source.referrers = twice  # type: ignore[method-assign]
    target = Folder()
    options = TransferOptions(referrers=True)
    result = await transfer(source, LATEST, target, [LATEST], options, Told())
    assert result.manifests == 2
    assert target.calls["publish", str(signature.root.digest)] == 1
