"""Every request asks for the rights that it needs, once."""

import pytest

from entrepot.oci.errors import Denied, Unauthorized
from entrepot.oci.reference import Tag
from entrepot.ports.credential_store import Credentials
from entrepot.testing import MockRegistry
from entrepot.testing import example_images as examples
from entrepot.testing.image_end_contents import blob, blob_of, fill
from tests.remote_registries import name, remote

USERS = {"ann": "her password"}


class Login:
    """A credential store with one login."""

    async def find(self, registry: str, repository: str = "") -> Credentials | None:
        return Credentials("ann", "her password")

    async def save(self, registry: str, credentials: Credentials) -> str:
        raise NotImplementedError

    async def erase(self, registry: str) -> bool:
        raise NotImplementedError


async def test_a_push_is_challenged_once(mock: MockRegistry) -> None:
    mock.require_token(users=USERS)
    example = examples.image(layers=[bytes(5_000_000)], compressed=False)
    async with remote(mock.host, Login()) as registry:
        await registry.ping()
        mock.clear_requests()
        await fill(registry.repository(name()), example, "1.0")
    assert mock.count("*", "/v2/*", status=401) <= 1
    assert mock.count("PATCH") == 1


async def test_a_large_body_is_not_sent_before_the_login(mock: MockRegistry) -> None:
    mock.require_token(users=USERS)
    async with remote(mock.host, Login()) as registry:
        await registry.repository(name()).put_blob(blob(bytes(9_000_000)))
    assert mock.bytes_received < 10_000_000


async def test_a_mount_asks_for_the_source_too(mock: MockRegistry) -> None:
    mock.require_token(users=USERS)
    there = mock.add_blob("tests/other", b"there")
    async with remote(mock.host, Login()) as registry:
        target = registry.repository(name())
        assert await target.mount(there, registry.repository(name("tests/other")))
        assert await target.has_blob(there)


async def test_what_may_not_be_mounted_is_pushed(mock: MockRegistry) -> None:
    mock.require_token(
        users=USERS, may=lambda _, repository: "pull,push" if repository == "tests/one" else ""
    )
    there = mock.add_blob("tests/other", b"there")
    async with remote(mock.host, Login()) as registry:
        target = registry.repository(name())
        await target.mount(there, registry.repository(name("tests/other")))
        await target.put_blob(blob(b"there"))
        assert await target.has_blob(there)


async def test_who_may_only_pull_pulls(mock: MockRegistry) -> None:
    mock.require_token(users=USERS, may=lambda *_: "pull")
    image = mock.add_image("tests/one", "1.0")
    async with remote(mock.host, Login()) as registry:
        repository = registry.repository(name())
        assert await repository.resolve() == image.descriptor
        assert await repository.tags() == ("1.0",)
        await blob_of(repository, image.layers[0])
        with pytest.raises((Denied, Unauthorized)):
            await repository.put_blob(blob(b"mine"))
        with pytest.raises((Denied, Unauthorized)):
            await repository.delete_tag(Tag("1.0"))


async def test_who_may_delete_deletes(mock: MockRegistry) -> None:
    mock.require_token(users=USERS, may=lambda *_: "pull,push,delete")
    image = mock.add_image("tests/one", "1.0")
    async with remote(mock.host, Login()) as registry:
        repository = registry.repository(name())
        await repository.delete_tag(Tag("1.0"))
        await repository.delete_manifest(image.digest)
        await repository.delete_blob(image.layers[0].digest)
        assert [found async for found in registry.repositories()] == ["tests/one"]
