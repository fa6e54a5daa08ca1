"""Indexes list what they are told to, in its order, and bring it along."""

import pytest

from entrepot.oci import media_types
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestUnknown, Unsupported
from entrepot.oci.platform import Platform
from entrepot.services.image_indexes import (
    IndexEntry,
    IndexSettings,
    add_to_index,
    create_index,
    remove_from_index,
)
from entrepot.services.validation import validate
from entrepot.testing.example_images import ELSEWHERE, HERE, artifact, image, index
from entrepot.testing.memory_end import MemoryEnd
from tests.unit.services.editing import NEW, base, holding, ignore, manifest

ARM = Platform("linux", "arm", "v7")


@pytest.mark.parametrize("docker", [False, True])
async def test_an_index_tells_what_configs_tell(docker: bool) -> None:
    here, there = base(docker=docker), base(platform=ELSEWHERE, docker=docker)
    source, target = holding(here, there), MemoryEnd()
    entries = [IndexEntry(source, one.root) for one in (there, here)]
    root = await create_index(entries, IndexSettings(docker=docker), target, [NEW], ignore)
    assert await target.resolve(NEW) == root
    kind = media_types.DOCKER_MANIFEST_LIST if docker else media_types.OCI_INDEX
    assert root.media_type == manifest(target, root)["mediaType"] == kind
    listed = manifest(target, root)["manifests"]
    assert [one["platform"]["architecture"] for one in listed] == ["arm64", "amd64"]
    assert await validate(target, root, ignore) == []


async def test_what_is_told_of_an_entry_is_kept() -> None:
    one = base()
    entry = IndexEntry(holding(one), one.root, ARM, {"note": "x"})
    settings = IndexSettings(
        annotations={"a": "b"}, artifact_type="application/x", subject=one.root
    )
    target = MemoryEnd()
    root = await create_index([entry], settings, target, [], ignore)
    document = manifest(target, root)
    (listed,) = document["manifests"]
    assert (listed["platform"], listed["annotations"]) == (ARM.to_json(), {"note": "x"})
    assert document["annotations"] == {"a": "b"}
    assert document["subject"]["digest"] == str(one.root.digest)
    with pytest.raises(Unsupported, match="Docker"):
        await create_index(
            [], IndexSettings(docker=True, annotations={"a": "b"}), target, [], ignore
        )


@pytest.mark.parametrize("nested", [False, True])
async def test_an_index_in_an_index(nested: bool) -> None:
    inner = index()
    target = MemoryEnd()
    entry = IndexEntry(holding(inner), inner.root, nested=nested)
    root = await create_index([entry], IndexSettings(), target, [], ignore)
    assert len(manifest(target, root)["manifests"]) == (1 if nested else 2)


async def test_images_join_and_replace_those_of_their_platform() -> None:
    whole, newer, other = index(), base(), base(platform=ARM)
    source, target = holding(whole, newer, other), MemoryEnd()
    entries = [IndexEntry(source, one.root) for one in (newer, other)]
    root = await add_to_index(source, whole.root, entries, target, [], ignore)
    before = manifest(source, whole.root)["manifests"]
    listed = manifest(target, root)["manifests"]
    assert [one["digest"] for one in listed] == [
        before[1]["digest"],
        str(newer.root.digest),
        str(other.root.digest),
    ]


@pytest.mark.parametrize("by", ["digest", "platform"])
async def test_images_are_taken_out(by: str) -> None:
    whole = index()
    source, target = holding(whole), MemoryEnd()
    listed = manifest(source, whole.root)["manifests"]
    unwanted = Digest.parse(listed[0]["digest"]) if by == "digest" else HERE
    root = await remove_from_index(source, whole.root, [unwanted], target, [NEW], ignore)
    assert manifest(target, root)["manifests"] == listed[1:]
    with pytest.raises(ManifestUnknown, match="arm64"):
        await remove_from_index(source, whole.root, [ARM], target, [], ignore)


async def test_an_image_is_no_index() -> None:
    one = image()
    with pytest.raises(Unsupported, match="no index"):
        await add_to_index(holding(one), one.root, [], MemoryEnd(), [], ignore)


async def test_an_artifact_is_listed_with_its_type() -> None:
    one = artifact(image().root)
    target = MemoryEnd()
    entry = IndexEntry(holding(one), one.root)
    root = await create_index([entry], IndexSettings(), target, [], ignore)
    (listed,) = manifest(target, root)["manifests"]
    assert listed["artifactType"] == manifest(target, one.root)["artifactType"]
    assert "platform" not in listed
