"""Against our own server: what it has and others have not."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from entrepot.adapters.remotes.registry import HttpRegistry
from entrepot.adapters.remotes.repository import HttpRepository
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, ManifestUnknown
from entrepot.oci.reference import Tag
from entrepot.testing import example_images as examples
from entrepot.testing.image_end_contents import blob, blob_of, contents, expected, fill
from tests.remote_registries import name as named
from tests.remote_registries import remote
from tests.server import RunningServer


@pytest_asyncio.fixture
async def registry(server: RunningServer) -> AsyncIterator[HttpRegistry]:
    async with remote(server.host) as registry:
        yield registry


@pytest.fixture
def repository(registry: HttpRegistry, name: str) -> HttpRepository:
    return registry.repository(named(name))


async def test_ping_and_catalog(registry: HttpRegistry, repository: HttpRepository) -> None:
    ping = await registry.ping()
    assert (ping.authentication, ping.authorised) == ("", True)
    await fill(repository, examples.image(), "1.0")
    assert repository.name in [found async for found in registry.repositories()]


@pytest.mark.parametrize("size", [100, 5_000_000, 20_000_000])
async def test_sha512_blobs(repository: HttpRepository, size: int) -> None:
    content = bytes(range(250)) * (size // 250)
    descriptor = Descriptor("a/b", Digest.of(content, "sha512"), len(content))
    await repository.put_blob(blob(content, descriptor))
    assert await blob_of(repository, descriptor) == content


async def test_sha512_images_keep_their_digest_under_tags(repository: HttpRepository) -> None:
    example = examples.image(algorithm="sha512")
    await fill(repository, example, "1.0", "latest")
    for tag in ("1.0", "latest"):
        root = await repository.resolve(Tag(tag))
        assert root.digest == example.root.digest
        assert await contents(repository, root) == expected(example)


async def test_mount(registry: HttpRegistry, repository: HttpRepository) -> None:
    content = blob(b"to be mounted" * 1000)
    await repository.put_blob(content)
    other = registry.repository(named(f"{repository.name}-other"))
    assert await other.mount(content.descriptor, repository)
    assert await other.has_blob(content.descriptor)
    nowhere = blob(b"nowhere" * 1000)
    assert not await other.mount(nowhere.descriptor, repository)
    await other.put_blob(nowhere)
    assert await other.has_blob(nowhere.descriptor)


async def test_referrers_leave_no_tag(repository: HttpRepository) -> None:
    subject = examples.image()
    await fill(repository, subject, "1.0")
    signature = examples.artifact(subject.root, examples.SIGNATURE)
    await fill(repository, signature)
    (found,) = await repository.referrers(subject.root.digest, examples.SIGNATURE)
    assert found.digest == signature.root.digest
    assert await repository.tags() == ("1.0",)
    await repository.delete_manifest(signature.root.digest)
    assert await repository.referrers(subject.root.digest) == ()


async def test_deletion(repository: HttpRepository) -> None:
    example = examples.image()
    await fill(repository, example, "1.0", "2.0")
    await repository.delete_tag(Tag("2.0"))
    assert await repository.tags() == ("1.0",)
    await repository.delete_manifest(example.root.digest)
    with pytest.raises(ManifestUnknown):
        await repository.head(example.root.digest)
    await repository.delete_blob(example.layers[0].digest)
    with pytest.raises(BlobUnknown):
        await repository.blob_size(example.layers[0].digest)
