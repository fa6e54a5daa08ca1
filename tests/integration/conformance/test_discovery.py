"""Tags and repositories, a page at a time (end-8; `_catalog` is Docker's)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.http_client import Client, next_link, pages
from tests.integration.conformance.content import random_blob
from tests.integration.conformance.expectations import assert_refused, push_image
from tests.integration.conformance.repository import Repository
from tests.server import RunningServer

TAGS = sorted(["0", "1.0", "1.10", "1.2", "A", "Z", "_", "a", "a-b", "a.b", "aa", "latest", "z"])


@dataclass(frozen=True, slots=True)
class Listing:
    """A paged list: where it is, the key of its entries, and all of them in order."""

    client: Client
    path: str
    key: str
    entries: list[str]


@pytest.fixture(scope="module")
def tags(server: RunningServer) -> Iterator[Listing]:
    with server.client() as client:
        repository = Repository(client, "discovery/tags")
        manifest = push_image(repository)
        for tag in reversed(TAGS):
            assert repository.put_manifest(manifest, tag).status == 201
        yield Listing(client, repository.path("tags", "list"), "tags", TAGS)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listing]:
    """The catalog of a server that holds nothing else."""
    server = RunningServer(tmp_path_factory.mktemp("catalog"))
    names = sorted(["a", "a/b", "a-b/c", "a.b", "b/a/c/d", "b0", "zz/last", "library/busybox"])
    try:
        with server.client() as client:
            for name in reversed(names):
                assert Repository(client, name).push(random_blob()).status == 201
            yield Listing(client, "/v2/_catalog", "repositories", names)
    finally:
        assert server.stop() == 0


@pytest.fixture(params=["tags", "catalog"])
def listing(request: pytest.FixtureRequest) -> Listing:
    found: Listing = request.getfixturevalue(request.param)
    return found


def test_without_a_number_all_are_listed(listing: Listing) -> None:
    response = listing.client.get(listing.path)
    assert response.status == 200
    assert response.header("Content-Type") == "application/json"
    assert response.json()[listing.key] == listing.entries
    assert next_link(response) is None


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 13, 100])
def test_pages_add_up_to_the_whole(listing: Listing, size: int) -> None:
    found: list[str] = []
    for page in pages(listing.client, f"{listing.path}?n={size}"):
        assert page.status == 200, page
        entries = page.json()[listing.key]
        assert len(entries) == min(size, len(listing.entries) - len(found))
        found += entries
    assert found == listing.entries


@pytest.mark.parametrize("size", [2, 100])
def test_every_entry_can_be_gone_on_from(listing: Listing, size: int) -> None:
    for position, last in enumerate(listing.entries):
        response = listing.client.get(f"{listing.path}?n={size}&last={last}")
        rest = listing.entries[position + 1 :]
        assert response.json()[listing.key] == rest[:size]
        assert (next_link(response) is None) == (len(rest) <= size)


@pytest.mark.parametrize(
    ("last", "rest"),
    [
        ("", lambda entries: entries),
        ("%00", lambda entries: entries),
        ("aaaa", lambda entries: [entry for entry in entries if entry > "aaaa"]),
        ("zzzzzzz", lambda entries: []),
        ("%C3%A4", lambda entries: []),
        ("a" * 5000, lambda entries: [entry for entry in entries if entry > "a" * 5000]),
        ("a%27%20OR%201%3D1", lambda entries: [e for e in entries if e > "a' OR 1=1"]),
    ],
    ids=["empty", "NUL", "between", "behind", "not ASCII", "long", "quoted"],
)
def test_the_last_need_not_exist(
    listing: Listing, last: str, rest: Callable[[list[str]], list[str]]
) -> None:
    response = listing.client.get(f"{listing.path}?last={last}")
    assert response.status == 200, response
    assert response.json()[listing.key] == rest(listing.entries)


@pytest.mark.parametrize("query", ["n=0", "n=0&last=a", "n=00"])
def test_none_asked_for_is_none_and_no_link(listing: Listing, query: str) -> None:
    response = listing.client.get(f"{listing.path}?{query}")
    assert (response.status, response.json()[listing.key]) == (200, [])
    assert response.header("Link") is None


@pytest.mark.parametrize("n", ["-1", "a", "", "1.5", "1e3", "0x10", "%2B1", "1_0", "%D9%A1"])
def test_a_number_that_is_none_is_refused(listing: Listing, n: str) -> None:
    response = listing.client.get(f"{listing.path}?n={n}")
    assert_refused(response, 400, "PAGINATION_NUMBER_INVALID")


@pytest.mark.parametrize("n", ["10001", str(2**63), "9" * 500])
def test_a_huge_number_is_capped(listing: Listing, n: str) -> None:
    response = listing.client.get(f"{listing.path}?n={n}")
    assert (response.status, response.json()[listing.key]) == (200, listing.entries)


def test_the_tags_of_an_unknown_repository_are_unknown(repository: Repository) -> None:
    assert_refused(repository.tags(), 404, "NAME_UNKNOWN")
    assert_refused(repository.tags("n=5"), 404, "NAME_UNKNOWN")


def test_a_repository_without_tags_has_an_empty_list(repository: Repository) -> None:
    assert repository.push(random_blob()).status == 201
    assert repository.tags().json() == {"name": repository.name, "tags": []}


def test_pages_go_on_where_a_tag_was_deleted(repository: Repository) -> None:
    manifest = push_image(repository)
    for tag in "abcdef":
        assert repository.put_manifest(manifest, tag).status == 201
    first = repository.tags("n=3")
    assert repository.delete_manifest("c").status == 202
    link = next_link(first)
    assert link is not None
    assert repository.client.get(link).json()["tags"] == ["d", "e", "f"]
