"""Against the registry most people run, which lacks much of what ours has."""

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
import pytest_asyncio

from entrepot.adapters.remotes.registry import HttpRegistry
from entrepot.adapters.remotes.repository import HttpRepository
from entrepot.oci.errors import ManifestUnknown, Unsupported
from entrepot.oci.reference import Tag
from entrepot.protocol.referrers import fallback_tag
from entrepot.testing import example_images as examples
from entrepot.testing.image_end_contents import blob, contents, expected, fill
from tests.docker_registry import RunningDockerRegistry
from tests.remote_registries import name, remote

pytestmark = pytest.mark.real("docker-registry")

_numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDockerRegistry]:
    server = RunningDockerRegistry(tmp_path_factory.mktemp("docker-registry"))
    yield server
    server.kill()


@pytest_asyncio.fixture
async def registry(server: RunningDockerRegistry) -> AsyncIterator[HttpRegistry]:
    async with remote(server.host) as registry:
        yield registry


@pytest.fixture
def repository(registry: HttpRegistry) -> HttpRepository:
    return registry.repository(name(f"tests/repository-{next(_numbers)}"))


async def test_ping_and_catalog(registry: HttpRegistry, repository: HttpRepository) -> None:
    ping = await registry.ping()
    assert (ping.authentication, ping.authorised) == ("", True)
    await fill(repository, examples.image(), "1.0")
    assert repository.name in [found async for found in registry.repositories()]


async def test_a_blob_is_mounted(registry: HttpRegistry, repository: HttpRepository) -> None:
    content = blob(b"to be mounted" * 1000)
    await repository.put_blob(content)
    other = registry.repository(name(f"tests/repository-{next(_numbers)}"))
    assert await other.mount(content.descriptor, repository)
    assert await other.has_blob(content.descriptor)


async def test_a_blob_that_is_not_there_is_not_mounted(
    registry: HttpRegistry, repository: HttpRepository
) -> None:
    content = blob(b"nowhere yet" * 1000)
    other = registry.repository(name(f"tests/repository-{next(_numbers)}"))
    assert not await other.mount(content.descriptor, repository)
    await other.put_blob(content)
    assert await other.has_blob(content.descriptor)


async def test_a_large_blob_goes_in_chunks(server: RunningDockerRegistry) -> None:
    content = blob(bytes(range(256)) * 40_000)
    async with remote(server.host, chunk_size=3_000_000) as registry:
        repository = registry.repository(name(f"tests/repository-{next(_numbers)}"))
        await repository.put_blob(content)
        assert await repository.has_blob(content.descriptor)


async def test_referrers_are_kept_under_the_tag(repository: HttpRepository) -> None:
    subject = examples.image()
    await fill(repository, subject, "1.0")
    signature, sbom = (
        examples.artifact(subject.root, kind) for kind in (examples.SIGNATURE, examples.SBOM)
    )
    for one in (signature, sbom):
        await fill(repository, one)
    assert set(await repository.tags()) == {"1.0", fallback_tag(subject.root.digest)}
    found = await repository.referrers(subject.root.digest)
    assert {one.digest for one in found} == {signature.root.digest, sbom.root.digest}
    for one in (signature, sbom):
        await repository.delete_manifest(one.root.digest)
    assert await repository.referrers(subject.root.digest) == ()
    assert await repository.tags() == ("1.0",)
    assert await contents(repository, subject.root) == expected(subject)


async def test_a_manifest_is_deleted_and_a_tag_is_not(repository: HttpRepository) -> None:
    example = examples.image()
    await fill(repository, example, "1.0")
    with pytest.raises(Unsupported, match="entrepot rm --digest"):
        await repository.delete_tag(Tag("1.0"))
    await repository.delete_manifest(example.root.digest)
    with pytest.raises(ManifestUnknown):
        await repository.head(example.root.digest)
    await repository.delete_blob(example.layers[0].digest)
    assert not await repository.has_blob(example.layers[0])


async def test_without_deletion_what_would_allow_it_is_named(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = RunningDockerRegistry(tmp_path_factory.mktemp("without-delete"), delete=False)
    try:
        async with remote(server.host) as registry:
            repository = registry.repository(name())
            example = examples.image()
            await fill(repository, example, "1.0")
            with pytest.raises(Unsupported, match="REGISTRY_STORAGE_DELETE_ENABLED"):
                await repository.delete_manifest(example.root.digest)
            with pytest.raises(Unsupported, match="REGISTRY_STORAGE_DELETE_ENABLED"):
                await repository.delete_blob(example.layers[0].digest)
    finally:
        server.kill()
