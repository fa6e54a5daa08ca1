"""Manifests are found however little the registry tells, and are what their digest says."""

import json
from dataclasses import replace
from typing import Any

import pytest

from entrepot.adapters.remotes.registry import HttpRegistry
from entrepot.adapters.remotes.repository import HttpRepository
from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    DigestInvalid,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Unsupported,
)
from entrepot.oci.reference import Tag
from entrepot.testing import Exchange, MockImage, MockRegistry, Reply
from entrepot.testing import example_images as examples
from entrepot.testing.image_end_contents import fill
from entrepot.testing.mock_connection_faults import Truncate
from entrepot.testing.mock_faults import Headers, Instead, Status, WrongDigest
from tests.remote_registries import name, remote

MANIFESTS = "*/manifests/*"
TAG = Tag("1.0")
UNSUPPORTED = b'{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}'


@pytest.fixture
def image(mock: MockRegistry) -> MockImage:
    return mock.add_image("tests/one", "1.0")


async def test_head_is_enough(
    mock: MockRegistry, repository: HttpRepository, image: MockImage
) -> None:
    found = await repository.resolve(TAG)
    assert found == image.descriptor
    (asked,) = mock.matching("*", MANIFESTS)
    assert asked.method == "HEAD"
    for media_type in media_types.MANIFESTS | media_types.INDEXES:
        assert media_type in (asked.header("accept") or "")


@pytest.mark.parametrize(
    "quirk",
    [
        Headers({"Docker-Content-Digest": None}),
        Headers({"Docker-Content-Digest": "sha256:abc"}),
        Headers({"Content-Type": None}),
        Headers({"Content-Type": "application/json"}),
        Headers({"Content-Type": "text/html"}),
        *(Status(status) for status in (400, 401, 403, 404, 405, 406, 501)),
    ],
    ids=str,
)
async def test_get_tells_what_head_does_not(
    mock: MockRegistry, repository: HttpRepository, image: MockImage, quirk: Any
) -> None:
    mock.fault(quirk, method="HEAD", path=MANIFESTS, times=None)
    found = await repository.resolve(TAG)
    assert found == image.descriptor
    assert await repository.manifest(found) == mock.manifest("tests/one", "1.0")
    assert mock.count("GET", MANIFESTS) == 1, "what was fetched is kept"


async def test_a_manifest_says_its_own_type(
    mock: MockRegistry, repository: HttpRepository, image: MockImage
) -> None:
    nothing = Headers({"Content-Type": "text/plain", "Docker-Content-Digest": None})
    mock.fault(nothing, path=MANIFESTS, times=None)
    assert await repository.resolve(TAG) == image.descriptor


async def test_bytes_are_verbatim_and_fetched_once(
    mock: MockRegistry, repository: HttpRepository, image: MockImage
) -> None:
    for _ in range(3):
        assert await repository.manifest(image.descriptor) == mock.manifest("tests/one", "1.0")
    assert mock.count("GET", MANIFESTS) == 1
    assert await repository.resolve(image.digest) == image.descriptor
    assert mock.count("*", MANIFESTS) == 1


async def test_what_one_repository_has_another_has_not(
    registry: HttpRegistry, repository: HttpRepository, image: MockImage
) -> None:
    await repository.manifest(image.descriptor)
    with pytest.raises((ManifestUnknown, NameUnknown)):
        await registry.repository(name("tests/other")).manifest(image.descriptor)


async def test_other_bytes_are_refused(
    mock: MockRegistry, repository: HttpRepository, image: MockImage
) -> None:
    mock.fault(WrongDigest(), method="GET", path=MANIFESTS, times=None)
    with pytest.raises(DigestInvalid, match=str(image.digest)):
        await repository.manifest(image.descriptor)


async def test_a_tag_whose_bytes_are_not_what_is_announced_is_refused(
    mock: MockRegistry, repository: HttpRepository, image: MockImage
) -> None:
    lie = Headers({"Docker-Content-Digest": str(Digest.of(b"other"))})
    mock.fault(Status(405), method="HEAD", path=MANIFESTS, times=None)
    mock.fault(lie, method="GET", path=MANIFESTS)
    with pytest.raises(DigestInvalid, match="not used"):
        await repository.resolve(TAG)


async def test_another_size_than_announced_is_refused(
    repository: HttpRepository, image: MockImage
) -> None:
    with pytest.raises(SizeInvalid):
        await repository.manifest(replace(image.descriptor, size=image.descriptor.size + 1))


async def test_large_manifests_are_refused(mock: MockRegistry, image: MockImage) -> None:
    mock.fault(Instead(b" " * 3000), method="GET", path=MANIFESTS, times=None)
    async with remote(mock.host, max_manifest=2000) as registry:
        repository = registry.repository(name())
        with pytest.raises(ManifestTooLarge, match="2000"):
            await repository.manifest(image.descriptor)
        with pytest.raises(ManifestTooLarge):
            await repository.manifest(replace(image.descriptor, size=3000))


async def test_a_page_is_no_manifest(
    mock: MockRegistry, repository: HttpRepository, image: MockImage
) -> None:
    async def portal(_: Exchange) -> Reply:
        return Reply.of(200, b"<html>Welcome to our hotel", {"Content-Type": "text/html"})

    mock.fault(portal, path=MANIFESTS, times=None)
    with pytest.raises(ManifestInvalid, match="text/html"):
        await repository.resolve(TAG)


async def test_schema_1_is_named(
    mock: MockRegistry, repository: HttpRepository, image: MockImage
) -> None:
    async def old(_: Exchange) -> Reply:
        return Reply.of(
            200, b'{"schemaVersion":1}', {"Content-Type": media_types.DOCKER_SCHEMA1_SIGNED}
        )

    mock.fault(old, path=MANIFESTS, times=None)
    with pytest.raises(Unsupported, match="schema 1"):
        await repository.resolve(TAG)


async def test_a_body_that_breaks_off_is_asked_for_again(
    mock: MockRegistry, repository: HttpRepository, image: MockImage
) -> None:
    mock.fault(Truncate(100), method="GET", path=MANIFESTS, times=3)
    assert await repository.manifest(image.descriptor) == mock.manifest("tests/one", "1.0")


async def test_who_is_refused_is_told_why(
    mock: MockRegistry, repository: HttpRepository, image: MockImage
) -> None:
    mock.fault(Status(401), path=MANIFESTS, times=None)
    with pytest.raises(Unauthorized, match="log in"):
        await repository.resolve(TAG)


async def test_what_is_there(
    mock: MockRegistry, repository: HttpRepository, image: MockImage
) -> None:
    absent = replace(image.descriptor, digest=Digest.of(b"absent"))
    assert await repository.has_manifest(image.descriptor)
    assert not await repository.has_manifest(absent)
    mock.fault(Status(405), method="HEAD", path=MANIFESTS, times=None)
    assert await repository.has_manifest(image.descriptor)
    assert not await repository.has_manifest(absent)


async def test_publishing_is_one_request_for_each_tag(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    example = examples.image()
    await fill(repository, example, "1.0", "1", "latest")
    puts = [one.path.rpartition("/")[2] for one in mock.matching("PUT", MANIFESTS)]
    assert puts == ["1.0", "1", "latest"]
    await repository.publish(example.root, example.content, [])
    assert mock.matching("PUT", MANIFESTS)[-1].path.endswith(str(example.root.digest))


async def test_a_registry_that_stores_something_else_is_named(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    mock.fault(Headers({"Docker-Content-Digest": str(Digest.of(b"other"))}), path=MANIFESTS)
    with pytest.raises(DigestInvalid, match="stored"):
        await fill(repository, examples.image(), "1.0")


async def test_manifests_tags_and_blobs_are_deleted(
    mock: MockRegistry, repository: HttpRepository, image: MockImage
) -> None:
    layer = image.layers[0].digest
    await repository.delete_blob(layer)
    assert not await repository.has_blob(image.layers[0])
    await repository.delete_tag(TAG)
    assert list(await repository.tags()) == []
    await repository.manifest(image.descriptor)
    await repository.delete_manifest(image.digest)
    with pytest.raises((ManifestUnknown, NameUnknown)):
        await repository.resolve(image.digest)
    with pytest.raises((ManifestUnknown, NameUnknown)):
        await repository.delete_manifest(image.digest)


@pytest.mark.parametrize(
    "fault",
    [WrongDigest(), Headers({"Content-Type": media_types.DOCKER_SCHEMA1}), Status(200, body=b"{")],
    ids=["damaged", "schema 1", "no manifest"],
)
async def test_what_cannot_be_read_can_be_deleted(
    mock: MockRegistry, repository: HttpRepository, image: MockImage, fault: Any
) -> None:
    mock.fault(fault, method="GET", path=MANIFESTS, times=None)
    await repository.delete_manifest(image.digest)
    assert mock.manifest("tests/one", image.digest) is None


@pytest.mark.parametrize(
    "refusal",
    [Status(405), Status(405, body=b""), Status(400, body=UNSUPPORTED), Status(501)],
)
async def test_a_registry_that_deletes_nothing_is_named(
    mock: MockRegistry, repository: HttpRepository, image: MockImage, refusal: Any
) -> None:
    mock.fault(refusal, method="DELETE", times=None)
    with pytest.raises(Unsupported, match="REGISTRY_STORAGE_DELETE_ENABLED"):
        await repository.delete_manifest(image.digest)
    with pytest.raises(Unsupported, match="REGISTRY_STORAGE_DELETE_ENABLED"):
        await repository.delete_blob(image.layers[0].digest)
    with pytest.raises(Unsupported, match="entrepot rm --digest"):
        await repository.delete_tag(TAG)


async def test_an_index_is_told_from_an_image(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    content = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    index = Descriptor(media_types.OCI_INDEX, Digest.of(content), len(content))
    await repository.publish(index, content, [Tag("index")])
    bare = Headers({"Content-Type": "application/octet-stream"})
    mock.fault(bare, path=MANIFESTS, times=None)
    assert await repository.resolve(Tag("index")) == index
