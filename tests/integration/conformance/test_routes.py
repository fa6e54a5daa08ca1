"""Paths and methods: what is answered where, and what is nowhere ("Endpoints")."""

import pytest

from tests.http_client import Client
from tests.integration.conformance.content import random_blob
from tests.integration.conformance.expectations import (
    assert_blob_created,
    assert_manifest_is,
    assert_refused,
    push_image,
)
from tests.integration.conformance.repository import Repository

DIGEST = "sha256:" + "0" * 64
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

ALLOWED = {
    "/v2/": {"GET", "HEAD"},
    "/v2/_catalog": {"GET", "HEAD"},
    "/v2/name/tags/list": {"GET", "HEAD"},
    f"/v2/name/referrers/{DIGEST}": {"GET", "HEAD"},
    f"/v2/name/blobs/{DIGEST}": {"GET", "HEAD", "DELETE"},
    "/v2/name/manifests/latest": {"GET", "HEAD", "PUT", "DELETE"},
    f"/v2/name/manifests/{DIGEST}": {"GET", "HEAD", "PUT", "DELETE"},
    "/v2/name/blobs/uploads/": {"POST"},
    "/v2/name/blobs/uploads/0123456789abcdef": {"GET", "HEAD", "PATCH", "PUT", "DELETE"},
}


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("path", ALLOWED)
def test_a_method_that_a_path_does_not_know_is_refused(
    client: Client, path: str, method: str
) -> None:
    response = client.request(method, path)
    if method in ALLOWED[path]:
        assert response.status != 405, response
        return
    assert response.status == 405, response
    allowed = {one.strip() for one in (response.header("Allow") or "").split(",")}
    assert allowed == ALLOWED[path]
    if method != "HEAD":
        assert_refused(response, 405, "UNSUPPORTED")


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_the_api_is_there(client: Client, path: str) -> None:
    for method in ("GET", "HEAD"):
        response = client.request(method, path)
        assert response.status == 200, response
        assert response.header("Docker-Distribution-API-Version") == "registry/2.0"


@pytest.mark.parametrize(
    "path",
    [
        "/v2/name",
        "/v2/name/",
        "/v2/name/unknown",
        "/v2/name/blobs",
        "/v2/name/manifests",
        "/v2/name/tags",
        "/v2/name/tags/list/",
        "/v2/name/tags/other",
        "/v2/name/uploads/x",
        "/v2/_catalog/",
        "/v2/_other",
        "/v2/a/b/c/d",
        "/v2/name/blobs/uploads/a/b",
        "/v2//",
    ],
)
def test_a_path_that_is_none_is_not_found(client: Client, path: str) -> None:
    for method in ("GET", "PUT", "POST", "DELETE"):
        response = client.request(method, path)
        assert response.status == 404, response
        assert response.header("Content-Type") == "application/json"
        assert response.json()["errors"][0]["message"]


@pytest.mark.parametrize("path", ["/", "/v1/", "/v3/", "/v2x/", "/v20/name/tags/list"])
def test_what_is_not_the_api_answers_without_an_error_of_the_server(
    client: Client, path: str
) -> None:
    assert client.get(path).status in (200, 404)


MALFORMED_NAMES = [
    "Name",
    "-name",
    "name-",
    "name_",
    ".name",
    "a..b",
    "a___b",
    "a.-b",
    "a//b",
    "/a",
    "a/",
    "a/-b",
    "n%C3%A4me",
    "na%20me",
    "a%2Fb",
    "a%00",
    "..",
    "../..",
    "a/../b",
    ".",
    "a:b",
    "a@b",
    "a" * 256,
    "a/" * 127 + "aa",
]


@pytest.mark.parametrize("malformed", MALFORMED_NAMES, ids=lambda name: name[:20])
def test_a_malformed_name_is_refused(client: Client, malformed: str) -> None:
    repository = Repository(client, malformed)
    digest = random_blob().digest
    assert_refused(repository.tags(), 400, "NAME_INVALID")
    assert_refused(repository.get_blob(digest), 400, "NAME_INVALID")
    assert_refused(repository.delete_blob(digest), 400, "NAME_INVALID")
    assert_refused(repository.post_upload(), 400, "NAME_INVALID")
    assert_refused(client.get(repository.path("blobs", "uploads", "x")), 400, "NAME_INVALID")
    assert_refused(repository.get_manifest("latest"), 400, "NAME_INVALID")
    assert_refused(repository.referrers(digest), 400, "NAME_INVALID")
    manifest = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    refused = client.put(repository.manifest("latest"), b"{}", manifest)
    assert_refused(refused, 400, "NAME_INVALID")


@pytest.mark.parametrize(
    "valid",
    [
        "a",
        "0",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a---b",
        "a/b/c/d/e/f/g/h",
        "v2",
        "v2/v2",
        "blobs/uploads",
        "manifests/latest",
        "a/manifests/b",
        "a/tags/list",
        "a/blobs",
        "uploads",
        "referrers/tags",
        "a" * 255,
        "a/" * 127 + "a",
    ],
    ids=lambda name: name[:20],
)
def test_any_name_of_the_grammar_works(client: Client, valid: str) -> None:
    repository = Repository(client, valid)
    blob = random_blob()
    assert_blob_created(repository, repository.push(blob, "chunked"), blob)
    manifest = push_image(repository, "latest")
    assert_manifest_is(repository, "latest", manifest)
    assert repository.tags().json() == {"name": valid, "tags": ["latest"]}
    assert repository.referrers(manifest.digest).status == 200
    assert repository.delete_manifest("latest").status == 202


def test_uploads_may_be_started_without_the_last_slash(repository: Repository) -> None:
    response = repository.client.post(repository.path("blobs", "uploads"))
    assert response.status == 202
    assert response.header("Location")


def test_a_digest_may_be_percent_encoded(repository: Repository) -> None:
    blob, manifest = random_blob(), push_image(repository)
    assert repository.push(blob).status == 201
    for path, content in (("blobs", blob), ("manifests", manifest)):
        encoded = content.digest.replace(":", "%3A")
        response = repository.client.get(repository.path(path, encoded))
        assert (response.status, response.body) == (200, content.content)


@pytest.mark.parametrize(
    "digest", ["short", "sha256:short", "sha1:" + "0" * 40, "..", "%2E%2E", "sha256:" + "0" * 65]
)
def test_a_malformed_digest_names_no_blob(repository: Repository, digest: str) -> None:
    """It never reaches the store, whatever it would mean as a file name."""
    assert_refused(repository.get_blob(digest), 400, "DIGEST_INVALID")
    assert_refused(repository.delete_blob(digest), 400, "DIGEST_INVALID")
    assert repository.head_blob(digest).status == 400


def test_query_parameters_that_mean_nothing_are_ignored(repository: Repository) -> None:
    manifest = push_image(repository, "latest")
    for target in (repository.manifest("latest"), repository.manifest(manifest.digest)):
        response = repository.client.get(f"{target}?ns=docker.io&x=%FF&=&&a")
        assert (response.status, response.body) == (200, manifest.content)
