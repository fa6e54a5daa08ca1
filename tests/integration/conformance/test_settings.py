"""What an operator can change of the API (`[registry]` in the configuration)."""

import pytest

from entrepot.protocol.challenges import render_basic
from tests.http_client import next_link, pages
from tests.integration.conformance.content import SBOM, image, index, random_blob
from tests.integration.conformance.expectations import (
    assert_blob_created,
    assert_blob_is,
    assert_manifest_created,
    assert_manifest_is,
    assert_refused,
    push_image,
)
from tests.integration.conformance.repository import Repository, moved_on
from tests.integration.conformance.test_referrers import push_artifact
from tests.integration.conftest import StartServer


@pytest.mark.parametrize("noun", ["tags", "manifests", "blobs"])
def test_each_kind_of_delete_can_be_switched_off(
    start_server: StartServer, name: str, noun: str
) -> None:
    server = start_server(settings={f"registry.delete_{noun}": "false"})
    with server.client() as client:
        repository = Repository(client, name)
        manifest, blob = push_image(repository, "latest"), random_blob()
        assert repository.push(blob).status == 201
        deletes = {
            "tags": repository.manifest("latest"),
            "blobs": repository.blob(blob.digest),
            "manifests": repository.manifest(manifest.digest),
        }
        refused = client.delete(deletes.pop(noun))
        assert_refused(refused, 405, "UNSUPPORTED")
        allows = "GET, HEAD" if noun == "blobs" else "GET, HEAD, PUT"
        assert refused.header("Allow") == allows
        if noun != "tags":
            assert_manifest_is(repository, "latest", manifest)
        assert_blob_is(repository, blob)
        for allowed in deletes.values():
            assert client.delete(allowed).status == 202


def test_warnings_go_with_every_response(start_server: StartServer, name: str) -> None:
    texts = ['read-only on "Sunday"', "moving to https://new.example"]
    config = f"[registry]\nwarnings = {texts!r}\n"
    with start_server(config=config).client() as client:
        repository = Repository(client, name)
        push_image(repository, "latest")
        expected = [r'299 - "read-only on \"Sunday\""', '299 - "moving to https://new.example"']
        for response in (
            client.get("/v2/"),
            repository.get_manifest("latest"),
            repository.head_manifest("latest"),
            repository.get_manifest("missing"),
            repository.post_upload(),
            repository.tags(),
            client.get("/v2/no/such/path"),
            client.post("/v2/"),
            client.get("/v2/Bad/tags/list"),
        ):
            assert response.all("Warning") == expected, response


def test_without_warnings_there_is_no_header(repository: Repository) -> None:
    assert repository.client.get("/v2/").all("Warning") == []


def test_a_least_chunk_length_is_asked_of_clients(start_server: StartServer, name: str) -> None:
    """A client takes chunks of at least that size, but for the last."""
    with start_server(settings={"registry.chunk_min_length": "2KiB"}).client() as client:
        repository = Repository(client, name)
        response = repository.post_upload()
        assert response.header("OCI-Chunk-Min-Length") == "2048"
        blob = random_blob(5000)
        location = moved_on(response)
        for start in (0, 2048, 4096):
            chunk = blob.content[start : start + 2048]
            location = moved_on(repository.put_chunk(location, chunk, start))
        assert_blob_created(repository, repository.close_upload(location, blob.digest), blob)


def test_anonymous_mounts_can_be_switched_off(start_server: StartServer, name: str) -> None:
    with start_server(settings={"registry.mount_from_anywhere": "false"}).client() as client:
        repository, other = Repository(client, name), Repository(client, f"{name}-other")
        blob = random_blob()
        assert other.push(blob).status == 201
        moved_on(repository.post_upload(mount=blob.digest))
        assert repository.head_blob(blob.digest).status == 404
        mounted = repository.post_upload(mount=blob.digest, **{"from": other.name})
        assert_blob_created(repository, mounted, blob)


def test_a_mount_takes_nothing_that_the_token_cannot_read(
    start_server: StartServer, name: str
) -> None:
    """PX-03: with `from` the token is refused; without it the blob is not found."""
    login = {"access.username": "ada", "access.password": "a long password"}
    server = start_server(settings={**login, "access.private": "secret/*"})
    user = {"Authorization": render_basic("ada", "a long password")}
    blob = random_blob()
    with server.client() as client:
        held = client.post(f"/v2/secret/x/blobs/uploads/?digest={blob.digest}", blob.content, user)
        assert held.status == 201
        scope = f"repository:{name}:pull,push"
        token = client.get(f"/token?scope={scope}", headers=user).json()["token"]
        mount = f"/v2/{name}/blobs/uploads/?mount={blob.digest}"
        bearer = {"Authorization": f"Bearer {token}"}
        assert client.post(f"{mount}&from=secret/x", headers=bearer).status == 401
        assert client.post(mount, headers=bearer).status == 202
        assert client.post(mount, headers=user).status == 201


def test_index_children_can_be_required(start_server: StartServer, name: str) -> None:
    with start_server(settings={"registry.require_index_children": "true"}).client() as client:
        repository = Repository(client, name)
        child = push_image(repository)
        absent = image().top.descriptor()
        sparse = index(absent=[child.descriptor(), absent]).top
        refused = repository.put_manifest(sparse, "sparse")
        assert_refused(refused, 404, "MANIFEST_BLOB_UNKNOWN")
        assert repository.head_manifest("sparse").status == 404
        whole = index(absent=[child.descriptor()]).top
        assert_manifest_created(repository, repository.put_manifest(whole, "whole"), whole)


def test_the_largest_manifest_can_be_set(start_server: StartServer, name: str) -> None:
    with start_server(settings={"registry.max_manifest_size": "64KiB"}).client() as client:
        repository = Repository(client, name)
        graph = image(annotations={"padding": "x" * 65536})
        for blob in graph.blobs:
            assert repository.push(blob).status == 201
        assert_refused(repository.put_manifest(graph.top, "large"), 413, "MANIFEST_INVALID")
        client.close()
        push_image(repository, "small")


def test_pages_can_be_made_smaller(start_server: StartServer, name: str) -> None:
    """Then lists come in pages though the client asked for all, and for more at a time."""
    with start_server(settings={"registry.max_page_size": "3"}).client() as client:
        repository = Repository(client, name)
        subject = push_image(repository)
        tags = [f"tag-{number}" for number in range(8)]
        assert repository.put_manifest(subject, tags=tags).status == 201
        referrers = [
            push_artifact(repository, SBOM, subject=subject.descriptor()) for _ in range(7)
        ]
        names = sorted([name, *(f"{name}-{number}" for number in range(6))])
        for one in names:
            assert Repository(client, one).push(random_blob()).status == 201
        lists = {
            repository.path("tags", "list"): (tags, "tags"),
            "/v2/_catalog": (names, "repositories"),
            repository.path("referrers", subject.digest): (
                sorted(one.digest for one in referrers),
                "manifests",
            ),
        }
        for path, (expected, key) in lists.items():
            for query in ("", "?n=1000", "?n=3"):
                found = []
                for page in pages(client, path + query):
                    entries = page.json()[key]
                    assert len(entries) <= 3
                    assert (next_link(page) is None) or len(entries) == 3
                    found += [e if isinstance(e, str) else e["digest"] for e in entries]
                assert found == expected, path + query
