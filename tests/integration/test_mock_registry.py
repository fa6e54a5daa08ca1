"""The mock registry is a correct registry, sees what it is asked, and leaves nothing behind."""

import asyncio
import gzip
import hashlib
import io
import json
import socket
import ssl
import tarfile
import threading
from collections.abc import Iterator
from http.client import HTTPSConnection, IncompleteRead
from pathlib import Path

import pytest

from entrepot.oci import media_types
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import Manifest, parse_manifest
from entrepot.testing import MockImage, MockRegistry, Reset, ServerError, Stall
from entrepot.testing.mock_content import Made, compressed, digest_of
from tests.certificates import make_certificate
from tests.http_client import Client, next_link, pages, with_query

NAME = "tests/mock"
UPLOADS = f"/v2/{NAME}/blobs/uploads/"


@pytest.fixture
def registry() -> Iterator[MockRegistry]:
    with MockRegistry() as registry:
        yield registry


@pytest.fixture
def image(registry: MockRegistry) -> MockImage:
    return registry.add_image(NAME, "1.0", layer_size=100_000)


@pytest.fixture
def client(registry: MockRegistry) -> Iterator[Client]:
    with Client("127.0.0.1", registry.port, timeout=5) as client:
        yield client


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_the_base_says_that_it_is_a_registry(client: Client) -> None:
    assert client.get("/v2/").status == 200
    assert client.get("/elsewhere").status == 404
    assert client.post("/v2/").status == 405


def test_manifests_are_read_by_tag_and_digest(client: Client, image: MockImage) -> None:
    for reference in ("1.0", str(image.digest), str(image.digest).replace(":", "%3A")):
        read = client.get(f"/v2/{NAME}/manifests/{reference}")
        assert (read.status, read.body) == (200, image.manifest)
        assert read.header("docker-content-digest") == str(image.digest) == sha256(read.body)
        assert read.header("content-type") == image.descriptor.media_type
        head = client.head(f"/v2/{NAME}/manifests/{reference}")
        assert (head.status, head.body) == (200, b"")
        assert head.header("content-length") == str(len(image.manifest))
    assert client.get(f"/v2/{NAME}/manifests/2.0").json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"


def test_blobs_are_read_whole_and_in_parts(client: Client, image: MockImage) -> None:
    path, size = image.blob_path(1), image.layers[0].size
    whole = client.get(path)
    assert (
        sha256(whole.body) == str(image.layers[0].digest) == whole.header("docker-content-digest")
    )
    assert client.head(path).header("content-length") == str(size)
    part = client.get(path, {"Range": "bytes=70000-70099"})
    assert (part.status, part.body) == (206, whole.body[70000:70100])
    assert part.header("content-range") == f"bytes 70000-70099/{size}"
    rest = client.get(path, {"Range": "bytes=70001-"})
    assert (rest.status, rest.body) == (206, whole.body[70001:])
    assert client.get(path, {"Range": f"bytes={size}-"}).status == 416


def test_a_blob_is_in_its_repository_only(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    registry.add_image("tests/other")
    assert client.get(f"/v2/tests/other/blobs/{image.layers[0].digest}").status == 404


def test_an_upload_in_chunks_is_resumed_where_it_stands(
    registry: MockRegistry, client: Client
) -> None:
    content = Made(300_000, "pushed").read()
    started = client.post(UPLOADS)
    assert started.status == 202
    first = client.patch(
        str(started.header("location")), content[:100_000], {"Content-Range": "0-99999"}
    )
    assert (first.status, first.header("range")) == (202, "0-99999")
    stale = client.patch(str(started.header("location")), content[100_000:])
    assert stale.status == 400
    gap = client.patch(
        str(first.header("location")), content[200_000:], {"Content-Range": "200000-299999"}
    )
    assert (gap.status, gap.header("range")) == (416, "0-99999")
    told = client.get(str(gap.header("location")))
    assert (told.status, told.header("range")) == (204, "0-99999")
    digest = sha256(content)
    target = with_query(str(told.header("location")), {"digest": digest})
    assert client.put(target, content[100_000:]).status == 201
    assert registry.blob(digest) == content
    assert client.get(f"/v2/{NAME}/blobs/{digest}").body == content


def test_bytes_of_a_broken_chunk_stay(registry: MockRegistry, client: Client) -> None:
    location = str(client.post(UPLOADS).header("location"))
    head = f"PATCH {client.target(location)} HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"
    assert client.raw(head.encode() + bytes(300)) == b""
    (broken,) = registry.wait_for(1, "PATCH", ended=True)
    assert (broken.status, broken.bytes_received) == (0, 300)
    assert client.get(location).header("range") == "0-299"


def test_an_upload_with_another_digest_is_refused(client: Client) -> None:
    location = str(client.post(UPLOADS).header("location"))
    target = with_query(location, {"digest": sha256(b"right")})
    refused = client.put(target, b"wrong")
    assert (refused.status, refused.json()["errors"][0]["code"]) == (400, "DIGEST_INVALID")
    assert client.get(f"/v2/{NAME}/blobs/{sha256(b'right')}").status == 404


def test_a_blob_comes_whole_or_by_mount(registry: MockRegistry, client: Client) -> None:
    digest = sha256(b"content")
    assert client.post(f"/v2/a/blobs/uploads/?digest={digest}", b"content").status == 201
    mount = f"/v2/b/blobs/uploads/?mount={digest}&from=a"
    assert client.post(mount.replace("from=a", "from=c")).status == 202
    assert client.post(mount).status == 201
    assert client.get(f"/v2/b/blobs/{digest}").body == b"content"
    registry.abilities.mount = registry.abilities.single_post = False
    assert client.post(mount.replace("/v2/b", "/v2/d")).status == 202
    assert client.post(f"/v2/d/blobs/uploads/?digest={digest}", b"content").status == 202


def test_cancelled_uploads_are_gone(client: Client) -> None:
    location = str(client.post(UPLOADS).header("location"))
    assert client.delete(location).status == 204
    assert client.get(location).status == 404


def test_locations_may_be_relative_and_chunks_have_a_minimum(
    registry: MockRegistry, client: Client
) -> None:
    registry.abilities.relative_locations = True
    registry.abilities.chunk_minimum = 1000
    started = client.post(UPLOADS)
    location = str(started.header("location"))
    assert location.startswith("/v2/")
    assert started.header("oci-chunk-min-length") == "1000"
    assert client.patch(location, bytes(999)).status == 400


def test_pushed_manifests_need_their_content(registry: MockRegistry, client: Client) -> None:
    with MockRegistry() as other:
        made = other.add_image(NAME, "1.0", layers=1)
        contents = {one.digest: other.blob(one.digest) for one in made.blobs}
    kind = {"Content-Type": made.descriptor.media_type}
    refused = client.put(f"/v2/{NAME}/manifests/1.0", made.manifest, kind)
    assert refused.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"
    for digest, content in contents.items():
        client.post(f"{UPLOADS}?digest={digest}", content)
    pushed = client.put(f"/v2/{NAME}/manifests/1.0", made.manifest, kind)
    assert (pushed.status, pushed.header("docker-content-digest")) == (201, str(made.digest))
    assert registry.manifest(NAME, "1.0") == made.manifest
    assert registry.tags(NAME) == {"1.0": made.digest}
    wrong = client.put(f"/v2/{NAME}/manifests/{Digest.of(b'other')}", made.manifest, kind)
    assert wrong.status == 400


def test_what_is_deleted_is_gone(registry: MockRegistry, client: Client, image: MockImage) -> None:
    registry.add_image(NAME, "2.0", seed=f"{NAME}:1.0 linux/amd64", layer_size=100_000)
    assert client.delete(f"/v2/{NAME}/manifests/1.0").status == 202
    assert client.get(f"/v2/{NAME}/manifests/2.0").body == image.manifest
    assert client.delete(f"/v2/{NAME}/manifests/{image.digest}").status == 202
    assert client.get(f"/v2/{NAME}/manifests/2.0").status == 404
    assert client.delete(image.blob_path(1)).status == 202
    assert client.delete(image.blob_path(1)).status == 404
    registry.abilities.delete = False
    assert client.delete(image.blob_path(2)).status == 405


def test_lists_come_in_pages(registry: MockRegistry, client: Client) -> None:
    for number in range(5):
        registry.add_artifact(NAME, f"v{number}")
        registry.add_artifact(f"other/{number}")
    tags = [page.json()["tags"] for page in pages(client, f"/v2/{NAME}/tags/list?n=2")]
    assert tags == [["v0", "v1"], ["v2", "v3"], ["v4"]]
    registry.abilities.page_size = 4
    names = [page.json()["repositories"] for page in pages(client, "/v2/_catalog")]
    assert names == [[f"other/{number}" for number in range(4)], ["other/4", NAME]]
    registry.abilities.catalog = False
    assert client.get("/v2/_catalog").status == 404


def test_referrers_are_listed_filtered_and_switched_off(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    for kind in ("application/x.one", "application/x.two"):
        registry.add_artifact(NAME, artifact_type=kind, subject=image.descriptor)
    path = f"/v2/{NAME}/referrers/{image.digest}"
    found = client.get(path)
    assert {one["artifactType"] for one in found.json()["manifests"]} == {
        "application/x.one",
        "application/x.two",
    }
    filtered = client.get(f"{path}?artifactType=application/x.two")
    assert filtered.header("oci-filters-applied") == "artifactType"
    assert [one["artifactType"] for one in filtered.json()["manifests"]] == ["application/x.two"]
    registry.abilities.page_size = 1
    assert len(list(pages(client, path))) == 2
    registry.abilities.referrers = False
    assert client.get(path).status == 404


@pytest.mark.parametrize("referrers", [True, False])
def test_a_pushed_referrer_is_told_so_where_there_is_an_api(
    registry: MockRegistry, client: Client, image: MockImage, referrers: bool
) -> None:
    made = registry.add_artifact(NAME, subject=image.descriptor)
    registry.abilities.referrers = referrers
    kind = {"Content-Type": made.descriptor.media_type}
    pushed = client.put(f"/v2/{NAME}/manifests/{made.digest}", made.manifest, kind)
    assert pushed.header("oci-subject") == (str(image.digest) if referrers else None)


@pytest.mark.parametrize("docker", [True, False])
def test_images_are_valid_and_the_same_each_time(registry: MockRegistry, docker: bool) -> None:
    image = registry.add_image(NAME, "1.0", layers=3, docker=docker)
    parsed = parse_manifest(image.manifest, image.descriptor.media_type)
    assert isinstance(parsed, Manifest)
    assert parsed.blobs() == tuple(blob.digest for blob in image.blobs)
    config = json.loads(registry.blob(image.blobs[0].digest))
    archives = [gzip.decompress(registry.blob(layer.digest)) for layer in image.layers]
    assert config["rootfs"]["diff_ids"] == [sha256(archive) for archive in archives]
    for archive in archives:
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            assert len(opened.getnames()) == 1
    with MockRegistry() as other:
        assert other.add_image(NAME, "1.0", layers=3, docker=docker).digest == image.digest
        assert other.add_image(NAME, "2.0", layers=3, docker=docker).digest != image.digest


def test_an_index_lists_an_image_per_platform(registry: MockRegistry, client: Client) -> None:
    index = registry.add_index(NAME, platforms=("linux/amd64", "linux/arm/v7"), layers=1)
    listed = client.get(index.path).json()["manifests"]
    assert [one["digest"] for one in listed] == [str(child.digest) for child in index.children]
    assert listed[1]["platform"] == {"os": "linux", "architecture": "arm", "variant": "v7"}
    assert index.descriptor.media_type == media_types.OCI_INDEX


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 300_001])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_content_reads_the_same_from_anywhere(size: int, compression: str) -> None:
    inner = Made(size, "compressed")
    packed = compressed(inner, "gzip" if compression == "gzip" else "zstd")
    whole = packed.read()
    assert len(whole) == packed.size
    step = 7777
    pieces = [packed.read(at, step) for at in range(0, packed.size, step)]
    assert b"".join(pieces) == whole
    if compression == "gzip":
        assert gzip.decompress(whole) == inner.read()


def test_large_content_is_made_while_it_is_read(registry: MockRegistry, client: Client) -> None:
    blob = registry.add_blob(NAME, 20 << 20, seed="large")
    part = client.get(f"/v2/{NAME}/blobs/{blob.digest}", {"Range": "bytes=20000000-20000009"})
    assert part.body == Made(20 << 20, "large").read(20_000_000, 10)
    assert digest_of(Made(20 << 20, "large")) == blob.digest


def test_large_uploads_leave_memory(registry: MockRegistry, client: Client) -> None:
    content = Made(9 << 20, "large").read()
    digest = sha256(content)
    assert client.post(f"{UPLOADS}?digest={digest}", content).status == 201
    assert client.get(f"/v2/{NAME}/blobs/{digest}").body == content


def test_requests_are_seen(registry: MockRegistry, client: Client, image: MockImage) -> None:
    client.get(image.blob_path(1), {"Authorization": "Bearer hush", "X-Mine": "yes"})
    client.get(f"/v2/{NAME}/tags/list?n=1")
    registry.wait_for(2, ended=True)
    blob, tags = registry.requests
    assert (blob.method, blob.path, blob.status) == ("GET", image.blob_path(1), 200)
    assert (blob.bytes_sent, blob.header("x-mine")) == (image.layers[0].size, "yes")
    assert (blob.scheme, blob.authorization) == ("bearer", "Bearer hush")
    assert (tags.query, tags.authorization) == ((("n", "1"),), None)
    assert "hush" in registry.secrets
    assert registry.count("GET", "*/blobs/*") == registry.count(status=200) - 1 == 1
    assert registry.connections == 1
    registry.clear_requests()
    assert registry.count() == 0


def test_waiting_ends_with_what_was_seen(registry: MockRegistry, client: Client) -> None:
    client.get("/v2/")
    with pytest.raises(TimeoutError, match=r"2 requests .* \['GET /v2/'\]"):
        registry.wait_for(2, seconds=0.01)


async def test_coroutines_wait_in_a_thread(registry: MockRegistry, image: MockImage) -> None:
    standing = registry.fault(Stall(), path=image.path)
    with Client("127.0.0.1", registry.port, timeout=5) as client:
        reading = asyncio.create_task(asyncio.to_thread(client.get, image.path))
        await asyncio.to_thread(standing.wait)
        assert not reading.done()
        standing.release()
        assert (await reading).body == image.manifest


def test_several_requests_are_answered_at_once(registry: MockRegistry, image: MockImage) -> None:
    standing = registry.fault(Stall(at="head"), times=None)
    clients = [Client("127.0.0.1", registry.port, timeout=5) for _ in range(4)]
    threads = [threading.Thread(target=client.get, args=[image.path]) for client in clients]
    for thread in threads:
        thread.start()
    standing.wait(4)
    standing.release()
    for thread, client in zip(threads, clients, strict=True):
        thread.join()
        client.close()
    assert registry.count(status=200) == registry.connections == 4


def test_tls_also_where_it_is_reset(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    with MockRegistry(tls=context) as registry:
        image = registry.add_image(NAME)
        connection = HTTPSConnection(registry.host, timeout=5, context=certificate.client())
        connection.request("GET", image.path)
        assert connection.getresponse().read() == image.manifest
        registry.fault(Reset(5))
        connection.request("GET", image.path)
        response = connection.getresponse()
        assert response.read(5) == image.manifest[:5]
        with pytest.raises(IncompleteRead):  # what Python's TLS makes of a reset
            response.read()
        connection.close()


def test_who_speaks_tls_to_plain_http_is_refused_at_once(client: Client) -> None:
    assert client.raw(b"\x16\x03\x01\x02\x00").startswith(b"HTTP/1.1 400 ")


def test_stopping_ends_what_stands_still_and_gives_back_the_port() -> None:
    registry = MockRegistry()
    other = registry.other_origin()
    for origin in (registry, other):
        origin.fault(Stall(at="head"))
    places = [("127.0.0.1", origin.port) for origin in (registry, other)]
    waiting = [socket.create_connection(place, timeout=5) for place in places]
    for connection, origin in zip(waiting, (registry, other), strict=True):
        connection.sendall(b"GET /v2/ HTTP/1.1\r\n\r\n")
        origin.wait_for(1)
    registry.stop()
    registry.stop()
    for connection in waiting:
        with connection:
            assert connection.recv(1) == b""
    for place in places:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(place, timeout=5)


def test_what_was_pushed_can_be_looked_at_afterwards() -> None:
    with MockRegistry() as registry, Client("127.0.0.1", registry.port, timeout=5) as client:
        client.post(f"{UPLOADS}?digest={sha256(b'content')}", b"content")
    assert registry.blob(sha256(b"content")) == b"content"
    assert registry.count("POST", status=201) == 1


def test_a_mistake_in_a_fault_fails_the_test() -> None:
    def mistaken(exchange: object) -> None:
        raise LookupError("a mistake")

    registry = MockRegistry()
    registry.fault(mistaken)
    with Client("127.0.0.1", registry.port, timeout=5) as client:
        assert client.get("/v2/").status == 500
        assert client.get("/v2/").status == 200
    with pytest.raises(LookupError, match="a mistake"), registry:
        pass


def test_links_are_as_the_next_page_needs_them(registry: MockRegistry, client: Client) -> None:
    registry.abilities.page_size = 1
    for tag in ("a", "b"):
        registry.add_artifact(NAME, tag)
    assert next_link(client.get(f"/v2/{NAME}/tags/list")) == f"/v2/{NAME}/tags/list?n=1&last=a"
    assert registry.fault(ServerError()).applied == 0
