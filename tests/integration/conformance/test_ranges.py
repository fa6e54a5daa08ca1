"""Parts of blobs, and blobs and manifests that the client has already (RFC 9110, 13 and 14)."""

import pytest

from tests.http_client import Response, parts
from tests.integration.conformance.content import Content, random_blob
from tests.integration.conformance.expectations import (
    assert_blob_is,
    assert_manifest_is,
    assert_refused,
    push_image,
)
from tests.integration.conformance.repository import Repository

SIZE = 2048


@pytest.fixture(params=["sha256", "sha512"])
def blob(request: pytest.FixtureRequest, repository: Repository) -> Content:
    pushed = random_blob(SIZE, algorithm=request.param)
    assert repository.push(pushed).status == 201
    return pushed


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("500-1499", 500, 1499),
        ("0-0", 0, 0),
        ("2047-2047", 2047, 2047),
        ("0-2047", 0, 2047),
        ("500-", 500, 2047),
        ("0-", 0, 2047),
        ("-500", 1548, 2047),
        ("-1", 2047, 2047),
        ("-5000", 0, 2047),
        ("2000-5000", 2000, 2047),
        ("2000-99999999999999999999999", 2000, 2047),
    ],
)
def test_one_range_is_answered_with_that_part(
    repository: Repository, blob: Content, asked: str, first: int, last: int
) -> None:
    response = repository.get_blob(blob.digest, {"Range": f"bytes={asked}"})
    assert response.status == 206, response
    assert response.body == blob.content[first : last + 1]
    assert response.header("Content-Length") == str(last + 1 - first)
    assert response.header("Content-Range") == f"bytes {first}-{last}/{SIZE}"
    assert response.header("Docker-Content-Digest") == blob.digest


@pytest.mark.parametrize(
    "asked", ["500-0", "5000-10000", "2048-", "2048-2048", "-0", "99999999999999999999-"]
)
def test_a_range_without_a_byte_is_not_satisfiable(
    repository: Repository, blob: Content, asked: str
) -> None:
    """`500-0` too, although HTTP would let it be ignored: the official suite asks for 416."""
    response = repository.get_blob(blob.digest, {"Range": f"bytes={asked}"})
    assert_refused(response, 416, "RANGE_INVALID")
    assert response.header("Content-Range") == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "field",
    ["bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "bytes 0-5", "items=0-5", "0-5",
     "bytes=0x0-0x5", "bytes=--5", "bytes=0-5;6-7", "bytes=" + "0-1," * 5000],
)  # fmt: skip
def test_what_is_no_range_is_ignored(repository: Repository, blob: Content, field: str) -> None:
    response = repository.get_blob(blob.digest, {"Range": field})
    assert (response.status, response.body) == (200, blob.content), response


@pytest.mark.parametrize(
    "asked", [[(0, 9), (100, 199)], [(2000, 2047), (0, 0)], [(0, 0), (2, 2), (4, 4), (6, 6)]]
)
def test_several_ranges_are_answered_in_parts(
    repository: Repository, blob: Content, asked: list[tuple[int, int]]
) -> None:
    field = ",".join(f"{first}-{last}" for first, last in asked)
    response = repository.get_blob(blob.digest, {"Range": f"bytes={field}"})
    if response.status == 200:
        assert response.body == blob.content
        return
    assert response.status == 206, response
    assert response.header("Content-Length") == str(len(response.body))
    assert parts(response) == [
        (f"bytes {first}-{last}/{SIZE}", blob.content[first : last + 1]) for first, last in asked
    ]


def test_of_several_ranges_those_behind_the_end_are_left_out(
    repository: Repository, blob: Content
) -> None:
    response = repository.get_blob(blob.digest, {"Range": "bytes=0-9,5000-6000"})
    assert response.status == 206, response
    assert response.body == blob.content[:10] or parts(response) == [
        (f"bytes 0-9/{SIZE}", blob.content[:10])
    ]
    nothing = repository.get_blob(blob.digest, {"Range": "bytes=5000-6000,7000-"})
    assert_refused(nothing, 416, "RANGE_INVALID")


@pytest.mark.parametrize("field", ["bytes=0-9,5-20,0-2047", "bytes=" + "0-0," * 100 + "1-1"])
def test_greedy_ranges_cost_no_more_than_the_blob(
    repository: Repository, blob: Content, field: str
) -> None:
    response = repository.get_blob(blob.digest, {"Range": field})
    assert response.status in (200, 206)
    assert len(response.body) <= 2 * SIZE


def test_a_range_of_nothing(repository: Repository) -> None:
    empty = Content(b"")
    assert repository.push(empty).status == 201
    response = repository.get_blob(empty.digest, {"Range": "bytes=0-"})
    assert response.status in (200, 416), response
    assert response.status == 416 or response.body == b""


def test_a_whole_blob_says_that_it_comes_in_parts_too(
    repository: Repository, blob: Content
) -> None:
    for response in (repository.get_blob(blob.digest), repository.head_blob(blob.digest)):
        assert response.header("Accept-Ranges") == "bytes"


def test_if_range_lets_the_range_count_only_for_the_same_content(
    repository: Repository, blob: Content
) -> None:
    etag = repository.head_blob(blob.digest).header("ETag")
    assert etag == f'"{blob.digest}"'
    part = {"Range": "bytes=0-9"}
    same = repository.get_blob(blob.digest, part | {"If-Range": etag})
    assert (same.status, same.body) == (206, blob.content[:10])
    for validator in ('"another"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        changed = repository.get_blob(blob.digest, part | {"If-Range": validator})
        assert (changed.status, changed.body) == (200, blob.content)


# ── what the client has already ──────────────────────────────────────────────────────────────

MATCHES = ['"{digest}"', 'W/"{digest}"', '"one", "{digest}" , "two"', "*", '"x",W/"{digest}"']
DIFFERS = ['"another"', '"{digest}x"', '""', 'W/"sha256:0"']


@pytest.mark.parametrize("field", MATCHES)
def test_a_blob_that_the_client_has_is_not_sent_again(
    repository: Repository, blob: Content, field: str
) -> None:
    known = {"If-None-Match": field.format(digest=blob.digest)}
    for method in ("GET", "HEAD"):
        response = repository.client.request(method, repository.blob(blob.digest), None, known)
        _assert_not_modified(response, blob)


@pytest.mark.parametrize("by_tag", [True, False], ids=["by tag", "by digest"])
@pytest.mark.parametrize("field", MATCHES)
def test_a_manifest_that_the_client_has_is_not_sent_again(
    repository: Repository, by_tag: bool, field: str
) -> None:
    manifest = push_image(repository, "latest")
    known = {"If-None-Match": field.format(digest=manifest.digest)}
    target = repository.manifest("latest" if by_tag else manifest.digest)
    for method in ("GET", "HEAD"):
        _assert_not_modified(repository.client.request(method, target, None, known), manifest)


def _assert_not_modified(response: Response, content: Content) -> None:
    assert (response.status, response.body) == (304, b""), response
    assert response.header("ETag") == f'"{content.digest}"'
    assert response.header("Docker-Content-Digest") == content.digest


@pytest.mark.parametrize("field", DIFFERS)
def test_what_the_client_does_not_have_is_sent(repository: Repository, field: str) -> None:
    manifest = push_image(repository, "latest")
    blob = random_blob()
    assert repository.push(blob).status == 201
    for target, content in (
        (repository.manifest("latest"), manifest),
        (repository.blob(blob.digest), blob),
    ):
        known = {"If-None-Match": field.format(digest=content.digest)}
        response = repository.client.get(target, known)
        assert (response.status, response.body) == (200, content.content)


def test_a_tag_that_moved_is_sent_anew(repository: Repository) -> None:
    before = push_image(repository, "latest")
    after = push_image(repository, "latest")
    known = {"If-None-Match": f'"{before.digest}"'}
    response = repository.client.get(repository.manifest("latest"), known)
    assert (response.status, response.body) == (200, after.content)
    assert_manifest_is(repository, before.digest, before)


def test_what_does_not_exist_is_not_modified_by_no_tag(repository: Repository) -> None:
    digest = random_blob().digest
    assert repository.get_blob(digest, {"If-None-Match": "*"}).status == 404
    push_image(repository)
    missing = repository.client.get(repository.manifest("missing"), {"If-None-Match": "*"})
    assert missing.status == 404


# ── HEAD is GET without the body ─────────────────────────────────────────────────────────────

VARYING = {"date", "x-request-id"}


def test_head_has_the_headers_of_get(repository: Repository) -> None:
    blob, manifest = random_blob(), push_image(repository, "latest")
    assert repository.push(blob).status == 201
    unknown = random_blob().digest
    for target in (
        "/v2/",
        repository.blob(blob.digest),
        repository.blob(unknown),
        repository.blob("sha256:malformed"),
        repository.manifest("latest"),
        repository.manifest(manifest.digest),
        repository.manifest("missing"),
        repository.manifest(unknown),
        repository.path("tags", "list"),
        repository.path("referrers", manifest.digest),
        "/v2/_catalog?n=1",
        "/v2/no/such/route",
    ):
        head, get = repository.client.head(target), repository.client.get(target)
        assert head.status == get.status, target
        assert head.body == b""
        assert _compared(head) == _compared(get), target
    assert_blob_is(repository, blob)


def _compared(response: Response) -> list[tuple[str, str]]:
    return sorted(
        (name.lower(), value) for name, value in response.headers if name.lower() not in VARYING
    )
