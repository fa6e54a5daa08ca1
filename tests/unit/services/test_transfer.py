"""Transfers between Ends in memory: what is copied, in which order, and what is asked for."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Literal

import pytest

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    ConnectionLost,
    DigestInvalid,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    SizeInvalid,
)
from entrepot.oci.platform import Platform
from entrepot.ports.image_end import BlobContent
from entrepot.rules.platform_choice import ATTESTED_DIGEST, ATTESTED_KIND
from entrepot.services.progress import (
    BlobFinished,
    BlobStarted,
    Finished,
    ManifestFinished,
    Planned,
    Warned,
)
from entrepot.services.transfer import TransferOptions, Transferred, transfer
from entrepot.testing.example_images import (
    ELSEWHERE,
    HERE,
    SBOM,
    SIGNATURE,
    ExampleImage,
    artifact,
    described,
    document,
    image,
    index,
)
from entrepot.testing.memory_end import MemoryEnd, MemoryImages
from tests.unit.services.recording_ends import LATEST, Folder, Registry, Told, holding


async def copy(
    source: MemoryEnd, target: MemoryEnd, told: Told | None = None, **options: object
) -> Transferred:
    return await transfer(
        source, LATEST, target, [LATEST], TransferOptions(**options), told or Told()
    )


async def test_an_image_arrives_verbatim_and_its_tag_comes_last() -> None:
    example, target = image(odd=True), Folder()
    result = await copy(holding(example), target)
    assert target.images.manifests[example.root.digest][1] == example.content
    assert target.images.blobs == {one.digest: body for one, body in example.blobs.items()}
    assert target.order[-2:] == [example.root.digest, LATEST]
    assert result.root.digest == example.root.digest
    assert (result.copied_blobs, result.copied_bytes) == (3, example.size())
    assert not target.committed


async def test_nothing_is_stored_as_what_it_is_not() -> None:
    example, target = image(), Folder()
    other = Digest.of(b"another image")
    with pytest.raises(DigestInvalid, match=f"{example.root.digest}.*{other}"):
        await transfer(
            holding(example), LATEST, target, [], TransferOptions(), Told(), expected=other
        )
    assert not target.images.manifests
    assert not target.images.blobs


@pytest.mark.parametrize("form", ["docker", None])
async def test_what_becomes_what_is_expected_is_stored(form: Literal["docker"] | None) -> None:
    options, converted, target = TransferOptions(format=form), Folder(), Folder()
    source = holding(image())
    digest = (await transfer(source, LATEST, converted, [], options, Told())).root.digest
    await transfer(source, LATEST, target, [], options, Told(), expected=digest)
    assert digest in target.images.manifests


async def test_every_platform_is_copied_unless_one_is_asked_for() -> None:
    example, target = index(odd=True), Folder()
    result = await copy(holding(example), target)
    assert target.images.manifests.keys() == {one.digest for one in example.manifests}
    assert result.manifests == 3


@pytest.mark.parametrize("options", [{"platforms": ()}, {"jobs": 0}])
async def test_nothing_in_particular_means_everything(options: dict[str, object]) -> None:
    target = Folder()
    await copy(holding(index()), target, **options)
    assert len(target.images.manifests) == 3


async def test_shared_blobs_are_sent_once() -> None:
    shared = [b"shared" * 1000]
    example = index(
        (HERE, image("a", layers=shared)),
        (ELSEWHERE, image("b", layers=shared, platform=ELSEWHERE)),
    )
    source, target = holding(example), Folder()
    await copy(source, target)
    assert {count for (name, _), count in source.calls.items() if name == "blob"} == {1}


async def test_an_unchanged_image_costs_a_registry_few_requests() -> None:
    example, target = index(), Registry()
    source = holding(example)
    await copy(source, target)
    source.calls.clear()
    target.calls.clear()
    await copy(source, target)
    assert target.calls.total() == 2 + 2  # HEAD of both images; publishing, with its PUT
    assert source.calls.total() == 2


async def test_what_a_folder_has_lost_is_copied_again() -> None:
    example, target = image(), Folder()
    await copy(holding(example), target)
    lost = example.layers[0].digest
    del target.images.blobs[lost]
    result = await copy(holding(example), target)
    assert lost in target.images.blobs
    assert (result.copied_blobs, result.present_blobs) == (1, 2)


async def test_blobs_are_mounted_rather_than_sent() -> None:
    example, source, target = image(), holding(image()), MemoryEnd()
    told = Told()
    result = await copy(source, target, told)
    assert (result.mounted_blobs, result.copied_bytes) == (3, 0)
    assert {event.how for event in told.of(BlobFinished)} == {"mounted"}
    assert not told.of(BlobStarted)
    assert example.root.digest in target.images.manifests


async def test_progress_is_told() -> None:
    example, told = image(), Told()
    result = await copy(holding(example), Folder(), told)
    assert told.of(Planned)[-1] == Planned(3, example.size())
    assert [event.offset for event in told.of(BlobStarted)] == [0, 0, 0]
    assert [event.descriptor.digest for event in told.of(ManifestFinished)] == [example.root.digest]
    assert told.events[-1] == Finished(result)


async def test_embedded_content_is_not_asked_for() -> None:
    payload = b"embedded"
    blob = replace(described(payload, "text/plain"), data=payload)
    config = replace(described(b"{}", media_types.OCI_EMPTY), data=b"{}")
    content = document({"schemaVersion": 2, "config": config.to_json(), "layers": [blob.to_json()]})
    root = described(content, media_types.OCI_MANIFEST)
    source, target = holding(ExampleImage(root, {root: content}, {})), Folder()
    await copy(source, target)
    assert target.images.blobs[blob.digest] == payload


async def test_foreign_layers_stay_where_they_are_with_a_warning() -> None:
    config = b"{}"
    foreign = replace(
        described(b"not here", media_types.DOCKER_FOREIGN_LAYER_GZIP), urls=("https://example.org",)
    )
    content = document(
        {
            "schemaVersion": 2,
            "mediaType": media_types.DOCKER_MANIFEST,
            "config": described(config, media_types.DOCKER_CONFIG).to_json(),
            "layers": [foreign.to_json()],
        }
    )
    root = described(content, media_types.DOCKER_MANIFEST)
    example = ExampleImage(
        root, {root: content}, {described(config, media_types.DOCKER_CONFIG): config}
    )
    told, target = Told(), Folder()
    await copy(holding(example), target, told)
    assert foreign.digest not in target.images.blobs
    assert str(foreign.digest) in told.warnings


async def test_referrers_follow_their_subjects_and_the_tag_comes_last() -> None:
    example = index()
    child = next(one for one in example.manifests if one != example.root)
    sbom = artifact(child, SBOM)
    signature = artifact(sbom.root, SIGNATURE, b"of the sbom")
    other = artifact(example.root, SIGNATURE, b"of the index")
    target = Folder()
    result = await copy(holding(example, sbom, signature, other), target, referrers=True)
    assert result.manifests == 6
    for later, earlier in [
        (sbom.root, child),
        (signature.root, sbom.root),
        (other.root, example.root),
    ]:
        assert target.order.index(later.digest) > target.order.index(earlier.digest)
    assert target.order[-1] == LATEST
    assert {sbom.root.digest, signature.root.digest} <= target.images.roots.keys()


async def test_referrers_are_chosen_by_type() -> None:
    example = image()
    sbom, signature = artifact(example.root, SBOM), artifact(example.root, SIGNATURE)
    target = Folder()
    source = holding(example, sbom, signature)
    await copy(source, target, referrers=True, artifact_types=(SBOM,))
    assert sbom.root.digest in target.images.manifests
    assert signature.root.digest not in target.images.manifests


async def test_a_referrer_that_is_gone_or_lies_is_left_out_with_a_warning() -> None:
    example, told = image(), Told()
    stranger = artifact(image("other").root)
    source = holding(example, stranger)

    async def referrers(subject: Digest, artifact_type: str | None = None) -> list[Descriptor]:
        gone = Descriptor(media_types.OCI_MANIFEST, Digest.of(b"gone"), 4)
        return [gone, stranger.root] if subject == example.root.digest else []

    source.referrers = referrers  # type: ignore[method-assign]
    result = await copy(source, Folder(), told, referrers=True)
    assert result.manifests == 1
    assert len(told.of(Warned)) == 2


async def test_one_platform_makes_its_image_the_root() -> None:
    example, target = index(), Folder()
    result = await copy(holding(example), target, platforms=(Platform("linux", "arm64"),))
    assert result.root.platform == ELSEWHERE
    assert len(target.images.manifests) == 1
    assert target.images.tags[LATEST] == result.root.digest


async def test_a_platform_that_is_not_there_names_those_that_are() -> None:
    target = Folder()
    with pytest.raises(ManifestUnknown, match=r"linux/amd64, linux/arm64/v8"):
        await copy(holding(index()), target, platforms=(Platform("linux", "s390x"),))
    assert not target.calls


async def test_several_platforms_make_a_smaller_index() -> None:
    third = Platform("linux", "s390x")
    example = index(*((one, image(str(one), platform=one)) for one in (HERE, ELSEWHERE, third)))
    target = Folder()
    result = await copy(holding(example), target, platforms=(HERE, third))
    assert result.replaced == {example.root.digest: result.root.digest}
    assert len(target.images.manifests) == 3


async def test_a_choice_of_everything_keeps_the_index() -> None:
    example = index()
    result = await copy(holding(example), Folder(), platforms=(HERE, ELSEWHERE))
    assert (result.root.digest, result.replaced) == (example.root.digest, {})


async def test_a_single_image_for_another_platform_is_taken_with_a_warning() -> None:
    told = Told()
    await copy(holding(image(platform=ELSEWHERE)), Folder(), told, platforms=(HERE,))
    assert "linux/arm64" in told.warnings


async def test_an_index_of_one_platform_is_made_if_asked_for() -> None:
    example, target = index(), Folder()
    result = await copy(holding(example), target, platforms=(HERE,), keep_index=True)
    assert result.root.media_type == media_types.OCI_INDEX
    assert len(target.images.manifests) == 2


async def test_attestations_stay_with_the_images_they_are_about() -> None:
    ours, theirs = image("ours"), image("theirs", platform=ELSEWHERE)
    unknown = Platform("unknown", "unknown")
    attested = []
    for about in (ours, theirs):
        statement = artifact(payload=str(about.root.digest).encode())
        says = {ATTESTED_KIND: "attestation-manifest", ATTESTED_DIGEST: str(about.root.digest)}
        attested.append(replace(statement.root, annotations=says, platform=unknown))
    listed = [
        replace(ours.root, platform=HERE),
        replace(theirs.root, platform=ELSEWHERE),
        *attested,
    ]
    content = document(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [one.to_json() for one in listed],
        }
    )
    root = described(content, media_types.OCI_INDEX)
    parts = [artifact(payload=str(about.root.digest).encode()) for about in (ours, theirs)]
    source = holding(ExampleImage(root, {root: content}, {}), ours, theirs, *parts)
    target = Folder()
    await copy(source, target, platforms=(HERE,), keep_index=True)
    assert target.images.manifests.keys() >= {ours.root.digest, attested[0].digest}
    assert attested[1].digest not in target.images.manifests
    told, target = Told(), Folder()
    result = await copy(source, target, told, format="docker")
    assert result.root.media_type == media_types.DOCKER_MANIFEST_LIST
    assert len(target.images.manifests) == 3
    assert str(attested[0].digest) in told.warnings


async def test_platforms_that_only_configs_tell_are_found() -> None:
    ours, theirs = image("ours"), image("theirs", platform=ELSEWHERE)
    content = document(
        {"schemaVersion": 2, "manifests": [theirs.root.to_json(), ours.root.to_json()]}
    )
    root = described(content, media_types.OCI_INDEX)
    source = holding(ExampleImage(root, {root: content}, {}), ours, theirs)
    result = await copy(source, Folder(), platforms=(HERE,))
    assert result.root.digest == ours.root.digest


async def test_referrers_of_what_was_converted_stay_behind_with_a_warning() -> None:
    example, told, target = image(docker=True), Told(), Folder()
    signature = artifact(example.root)
    result = await copy(holding(example, signature), target, told, referrers=True, format="oci")
    assert result.replaced == {example.root.digest: result.root.digest}
    assert signature.root.digest not in target.images.manifests
    assert "left behind" in told.warnings


class Lying(MemoryEnd):
    """A source that changes what it sends."""

    def __init__(self, images: MemoryImages, suffix: bytes) -> None:
        super().__init__(images)
        self.suffix = suffix

    async def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        yield self.images.blobs[descriptor.digest][offset:] + self.suffix


async def test_nothing_is_tagged_after_a_failure() -> None:
    target = Folder()
    with pytest.raises(SizeInvalid):
        await copy(Lying(holding(index()).images, b"more"), target)
    assert not target.images.tags
    assert not target.images.manifests


async def test_a_manifest_whose_media_type_lies_is_refused() -> None:
    example, source, target = image(), holding(image()), Folder()
    source.images.manifests[example.root.digest] = media_types.OCI_INDEX, example.content
    with pytest.raises(ManifestInvalid, match=str(example.root.digest)):
        await copy(source, target)


async def test_a_manifest_that_is_not_its_digest_is_refused() -> None:
    example, source = image(), holding(image())
    content = example.content.replace(b"2", b"3", 1)
    source.images.manifests[example.root.digest] = example.root.media_type, content
    with pytest.raises(DigestInvalid):
        await copy(source, Folder())


async def test_a_child_of_another_size_than_the_index_says_is_refused() -> None:
    child = image()
    wrong = replace(child, root=replace(child.root, size=child.root.size + 1))
    example = index((HERE, wrong))
    source = holding(replace(example, manifests={**child.manifests, example.root: example.content}))
    with pytest.raises(SizeInvalid):
        await copy(source, Folder())


async def test_two_sizes_of_one_blob_are_refused() -> None:
    config = described(b"{}", media_types.OCI_CONFIG)
    lying = replace(config, size=3, media_type=media_types.OCI_LAYER)
    first, second = (
        document({"schemaVersion": 2, "config": config.to_json(), "layers": layers})
        for layers in ([], [lying.to_json()])
    )
    images = [
        ExampleImage(root, {root: content}, {config: b"{}"})
        for content in (first, second)
        for root in [described(content, media_types.OCI_MANIFEST)]
    ]
    with pytest.raises((ManifestInvalid, SizeInvalid)):
        await copy(holding(index(*((HERE, one) for one in images))), Folder())


async def test_indexes_nested_without_end_are_refused() -> None:
    example = image()
    for _ in range(12):
        example = index((HERE, example))
    with pytest.raises(ManifestInvalid, match="nested"):
        await copy(holding(example), Folder())
    with pytest.raises(ManifestInvalid, match="nested"):
        await copy(holding(example), Folder(), platforms=(HERE,))


async def test_nested_indexes_are_copied_and_chosen_from() -> None:
    example = index((HERE, index()))
    target = Folder()
    await copy(holding(example), target)
    assert len(target.images.manifests) == 4
    result = await copy(holding(example), Folder(), platforms=(ELSEWHERE,))
    assert result.root.platform == ELSEWHERE


async def test_a_manifest_too_large_for_registries_is_refused_unread() -> None:
    content = document({"schemaVersion": 2, "manifests": [], "annotations": {"a": "x" * (4 << 20)}})
    root = described(content, media_types.OCI_INDEX)
    source = holding(ExampleImage(root, {root: content}, {}))
    with pytest.raises(ManifestTooLarge):
        await copy(source, Folder())
    assert not source.calls["manifest", str(root.digest)]


class Stuck(Folder):
    """A target that never ends, save for one blob, which it refuses."""

    def __init__(self, refused: Digest | None = None) -> None:
        super().__init__()
        self.refused = refused
        self.begun = asyncio.Event()
        self.ended = 0

    async def put_blob(self, content: BlobContent) -> None:
        if content.descriptor.digest == self.refused:
            raise ConnectionLost("the line is cut; try again")
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.ended += 1


async def test_the_first_error_ends_the_others_and_is_raised_itself() -> None:
    example = image()
    target = Stuck(example.layers[-1].digest)
    with pytest.raises(ConnectionLost):
        await copy(holding(example), target)
    assert target.ended == 2
    assert not target.images.tags


async def test_a_cancelled_transfer_has_ended_when_it_says_so() -> None:
    target = Stuck()
    task = asyncio.create_task(copy(holding(image()), target, jobs=2))
    await target.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert target.ended == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("jobs", [1, 3])
async def test_so_many_blobs_are_copied_at_a_time(jobs: int) -> None:
    class Counting(Folder):
        now = most = 0

        async def put_blob(self, content: BlobContent) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            await super().put_blob(content)
            await asyncio.sleep(0)
            self.now -= 1

    layers = [f"layer {number}".encode() for number in range(20)]
    target = Counting()
    await copy(holding(image(layers=layers)), target, jobs=jobs)
    assert target.most == jobs
