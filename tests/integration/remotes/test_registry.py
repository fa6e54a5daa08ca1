"""What a registry tells of itself, and its lists, page by page."""

import pytest

from entrepot.adapters.remotes.registry import HttpRegistry
from entrepot.adapters.remotes.repository import HttpRepository
from entrepot.oci.errors import NameUnknown, Unauthorized, Unavailable, Unsupported
from entrepot.ports.credential_store import Credentials
from entrepot.testing import Exchange, MockRegistry, Reply
from entrepot.testing.mock_connection_faults import Truncate
from entrepot.testing.mock_faults import Headers, Status
from tests.remote_registries import name, remote

TAGS = "*/tags/list"
CATALOG = "/v2/_catalog"


class OneLogin:
    """A credential store with one login for everything."""

    def __init__(self, username: str, password: str) -> None:
        self._login = Credentials(username, password)

    async def find(self, registry: str, repository: str = "") -> Credentials | None:
        return self._login

    async def save(self, registry: str, credentials: Credentials) -> str:
        raise NotImplementedError

    async def erase(self, registry: str) -> bool:
        raise NotImplementedError


async def test_ping_of_an_open_registry(mock: MockRegistry, registry: HttpRegistry) -> None:
    ping = await registry.ping()
    assert ping.url == mock.url
    assert ping.http_version == "1.1"
    assert ping.authentication == ""
    assert ping.authorised
    assert ping.headers["docker-distribution-api-version"] == "registry/2.0"


@pytest.mark.parametrize("flavour", ["basic", "bearer"])
async def test_ping_says_how_credentials_are_asked_for(mock: MockRegistry, flavour: str) -> None:
    users = {"ann": "secret"}
    if flavour == "basic":
        mock.require_basic(users)
    else:
        mock.require_token(users=users, may=lambda user, _: "pull" if user else "")
    async with remote(mock.host) as registry:
        ping = await registry.ping()
        assert ping.authentication == flavour
        assert flavour == "bearer" or not ping.authorised
    async with remote(mock.host, OneLogin("ann", "secret")) as registry:
        assert (await registry.ping()).authorised
    async with remote(mock.host, OneLogin("ann", "wrong")) as registry:
        with pytest.raises(Unauthorized):
            await registry.ping()


@pytest.mark.parametrize("status", [200, 404])
async def test_what_is_no_registry_is_named(
    mock: MockRegistry, registry: HttpRegistry, status: int
) -> None:
    async def page(_: Exchange) -> Reply:
        return Reply.of(status, b"<html>Hello", {"Content-Type": "text/html; charset=utf-8"})

    mock.fault(page, path="/v2/", times=None)
    with pytest.raises(Unavailable, match="is no registry"):
        await registry.ping()


async def test_ping_of_nobody() -> None:
    async with remote("127.0.0.1:1") as registry:
        with pytest.raises(Unavailable):
            await registry.ping()


@pytest.mark.parametrize("page_size", [1, 3, 100])
async def test_tags_are_all_listed_in_order(
    mock: MockRegistry, repository: HttpRepository, page_size: int
) -> None:
    mock.abilities.page_size = page_size
    tags = ["b", "a", "1.0", "latest", "Z", "_", "a-b"]
    for tag in tags:
        mock.add_image("tests/one", tag, layers=0)
    assert list(await repository.tags()) == sorted(tags)
    assert dict(mock.matching("GET", TAGS)[0].query) == {"n": "1000"}


def answer(body: bytes, link: str | None = None) -> Reply:
    headers = {"Content-Type": "application/json"} | ({"Link": link} if link else {})
    return Reply.of(200, body, headers)


@pytest.mark.parametrize("body", [b'{"name":"tests/one","tags":null}', b'{"name":"tests/one"}'])
async def test_no_tags_is_no_error(
    mock: MockRegistry, repository: HttpRepository, body: bytes
) -> None:
    async def nothing(_: Exchange) -> Reply:
        return answer(body)

    mock.fault(nothing, path=TAGS)
    assert await repository.tags() == ()


async def test_what_is_no_tag_is_left_out(mock: MockRegistry, repository: HttpRepository) -> None:
    async def odd(_: Exchange) -> Reply:
        return answer(b'{"tags":["ok","not ok","../up",7,null,"ok"]}')

    mock.fault(odd, path=TAGS)
    assert await repository.tags() == ("7", "None", "ok")


async def test_an_unknown_repository_is_named(repository: HttpRepository) -> None:
    with pytest.raises(NameUnknown, match="tests/one"):
        await repository.tags()


async def test_where_pages_are_not_known_all_is_asked_for_at_once(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    mock.add_image("tests/one", "1.0")
    mock.fault(Status(400), path=TAGS, when=lambda request: "n" in dict(request.query))
    assert await repository.tags() == ("1.0",)


async def test_a_list_without_end_is_named(mock: MockRegistry, repository: HttpRepository) -> None:
    async def circle(_: Exchange) -> Reply:
        return answer(b'{"tags":["a"]}', f"</v2/{repository.name}/tags/list?last=a>; rel=next")

    mock.fault(circle, path=TAGS, times=None)
    with pytest.raises(Unavailable, match="never ends"):
        await repository.tags()
    assert mock.count("GET", TAGS) == 2


async def test_a_page_is_never_asked_of_another_origin(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    """A registry that names itself wrongly is asked where it was asked; nobody else ever is."""
    other = mock.other_origin()
    mock.add_image("tests/one", "1.0")
    same = f"<{other.url}/v2/tests/one/tags/list?n=1000&last=0>; rel=next"
    mock.fault(Headers({"Link": same}), path=TAGS)
    assert await repository.tags() == ("1.0",)
    mock.fault(Headers({"Link": f"<{other.url}/v2/secrets>; rel=next"}), path=TAGS)
    with pytest.raises(Unavailable, match="Link"):
        await repository.tags()
    assert not other.requests


async def test_a_page_that_breaks_off_is_asked_for_again(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    mock.add_image("tests/one", "1.0")
    mock.fault(Truncate(5), path=TAGS, times=2)
    assert await repository.tags() == ("1.0",)


async def test_a_page_for_people_is_no_list(mock: MockRegistry, repository: HttpRepository) -> None:
    async def page(_: Exchange) -> Reply:
        return Reply.of(200, b"<html>", {"Content-Type": "text/html"})

    mock.fault(page, path=TAGS)
    with pytest.raises(Unavailable, match="no list of tags"):
        await repository.tags()


async def test_repositories_are_listed(mock: MockRegistry, registry: HttpRegistry) -> None:
    mock.abilities.page_size = 2
    names = [f"tests/{letter}" for letter in "abcde"]
    for one in names:
        mock.add_image(one, layers=0)
    assert [found async for found in registry.repositories()] == names


async def test_without_a_catalog_that_is_said(mock: MockRegistry, registry: HttpRegistry) -> None:
    mock.abilities.catalog = False
    with pytest.raises(Unsupported, match="no catalog"):
        [found async for found in registry.repositories()]


async def test_the_budget_is_told(mock: MockRegistry, registry: HttpRegistry) -> None:
    assert registry.rate_limit is None
    budget = Headers({"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "7;w=21600"})
    mock.fault(budget, times=None)
    await registry.ping()
    assert registry.rate_limit is not None
    assert (registry.rate_limit.limit, registry.rate_limit.remaining) == (100, 7)


async def test_closing_a_repository_leaves_the_registry_open(
    mock: MockRegistry, registry: HttpRegistry
) -> None:
    mock.add_image("tests/one", "1.0")
    first = registry.repository(name())
    await first.close()
    assert await registry.repository(name()).tags() == ("1.0",)
    assert await first.tags() == ("1.0",)
