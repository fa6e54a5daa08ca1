"""Redirects over sockets: object storage is asked, and clients find what they are sent to.

The face stands behind our own server. The upstream is a mock registry, object storage a plain web
server with a file for each blob, as a bucket is.
"""

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from entrepot.adapters.remotes.blob_check import HttpBlobCheck
from entrepot.adapters.remotes.transport import CurlTransport
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ConnectionLost
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.blob_check import BlobCheck
from entrepot.rules.source_routing import Route, RoutingTable
from entrepot.server.connections import Server
from entrepot.server.limits import Limits
from entrepot.services.redirects import Redirects, Site
from entrepot.testing import MockImage, MockRegistry
from entrepot.web.message import Request
from entrepot.web.message import Response as Answer
from entrepot.web.v2 import errors
from tests.http_client import Client, Response
from tests.integration.conftest import StartServer
from tests.integration.remotes.scripted_server import Peer, respond, scripted
from tests.remote_registries import remote
from tests.server import RunningServer
from tests.unit.web.redirecting import RedirectFace

PREFIX = "project/images"
APP = f"{PREFIX}/app"
NEAR, FAR = "10.1.0.9", "203.0.113.9"
TABLE = RoutingTable.of(everything=Route.of("home", mode="redirect"))


class Bucket:
    """A folder on the web: `requests` are the methods and paths asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        noted = self.requests

        class Handler(SimpleHTTPRequestHandler):
            def log_request(self, code: object = "-", size: object = "-") -> None:
                noted.append(f"{self.command} {self.path}")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = Thread(target=partial(self.server.serve_forever, poll_interval=0.01))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def upstream() -> Iterator[MockRegistry]:
    with MockRegistry() as registry:
        yield registry


@pytest.fixture
def image(upstream: MockRegistry) -> MockImage:
    return upstream.add_image(APP, "1.0.0", layers=2, layer_size=50_000)


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    running = Bucket(tmp_path)
    yield running
    running.close()


@pytest.fixture
async def transport() -> AsyncIterator[CurlTransport]:
    made = CurlTransport(environment={})
    yield made
    await made.close()


@asynccontextmanager
async def redirecting(upstream: MockRegistry, site: str, check: BlobCheck) -> AsyncIterator[str]:
    """Serve redirects to an upstream and one site; yield the server's `host:port`."""
    redirects = Redirects(
        {"home": f"http://{upstream.host}/v2/{PREFIX}/"},
        sites=[Site("near", site, ("10.1.0.0/16",))],
        check=check,
    )
    face = RedirectFace(TABLE, redirects, trusted=["127.0.0.0/8"])

    def observe(request: Request, response: Answer, sent: int, seconds: float) -> None:
        pass

    def fault(request: Request, error: Exception) -> None:
        raise AssertionError(request.path) from error

    server = Server(face, Limits(), refuse=errors.refuse, observe=observe, fault=fault)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await server.start([listening])
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            await server.stop(1)
            await redirects.close()


async def ask(host: str, target: str, client: str = FAR, method: str = "GET") -> Response:
    """Send one request to a server that runs in this very event loop."""
    name, _, port = host.partition(":")

    def send() -> Response:
        with Client(name, int(port), timeout=10) as connection:
            return connection.request(method, target, headers={"X-Forwarded-For": client})

    return await asyncio.to_thread(send)


def put(bucket: Bucket, upstream: MockRegistry, digest: Digest) -> None:
    """Copy a blob into the bucket."""
    (bucket.folder / digest.hex).write_bytes(content(upstream, digest))


def content(registry: MockRegistry, digest: Digest) -> bytes:
    with Client("127.0.0.1", registry.port) as client:
        return client.get(f"/v2/{APP}/blobs/{digest}").body


async def test_a_blob_comes_from_object_storage_where_it_is_there(
    upstream: MockRegistry, image: MockImage, bucket: Bucket, transport: CurlTransport
) -> None:
    """RD-05: present near the client: there; absent: upstream; a spoofed hop changes nothing."""
    present, absent = (layer.digest for layer in image.layers)
    put(bucket, upstream, present)
    check = HttpBlobCheck(transport, 5)
    async with redirecting(upstream, f"{bucket.url}/{{hex}}", check) as host:
        path = f"/v2/app/blobs/{present}"
        for method in ("GET", "HEAD", "GET"):
            answer = await ask(host, path, NEAR, method)
            assert (answer.status, answer.header("Location")) == (
                307,
                f"{bucket.url}/{present.hex}",
            )
        there = await ask(bucket.url.removeprefix("http://"), f"/{present.hex}")
        assert Digest.of(there.body) == present
        fallback = await ask(host, f"/v2/app/blobs/{absent}", NEAR)
        assert fallback.header("Location") == f"http://{upstream.host}/v2/{APP}/blobs/{absent}"
        for client in (FAR, f"{NEAR}, {FAR}"):
            away = await ask(host, path, client)
            assert away.header("Location") == f"http://{upstream.host}/v2/{APP}/blobs/{present}"
    asked = [one for one in bucket.requests if one.startswith("HEAD")]
    assert asked == [f"HEAD /{present.hex}", f"HEAD /{absent.hex}"]


async def test_an_image_is_pulled_through_redirects(
    upstream: MockRegistry, image: MockImage, bucket: Bucket, transport: CurlTransport
) -> None:
    """RD-02: a client that knows nothing of it gets the upstream's image by our name."""
    check = HttpBlobCheck(transport, 5)
    async with (
        redirecting(upstream, f"{bucket.url}/{{hex}}", check) as host,
        remote(host) as registry,
    ):
        repository = registry.repository(RepositoryName("app"))
        root = await repository.resolve(Tag("1.0.0"))
        assert await repository.manifest(root) == image.manifest
        for blob in image.blobs:
            read = b"".join([chunk async for chunk in repository.blob(blob)])
            assert Digest.of(read) == blob.digest
        assert await repository.tags() == (Tag("1.0.0"),)


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("404 Not Found", ()),
        ("403 Forbidden", ()),
        ("301 Moved Permanently", ("Location: /elsewhere",)),
        ("206 Partial Content", ()),
        ("503 Slow Down", ()),
        ("500 Internal Error", ()),
        ("429 Too Many Requests", ()),
    ],
    ids=lambda value: value[:3] if isinstance(value, str) else "",
)
async def test_storage_that_says_anything_else_is_passed_by(
    upstream: MockRegistry,
    image: MockImage,
    transport: CurlTransport,
    status: str,
    fields: tuple[str, ...],
) -> None:
    """RD-05: whatever is wrong with object storage, the upstream has the blob."""

    async def script(peer: Peer) -> None:
        while await peer.head():
            await peer.send(respond(status=status, fields=fields))

    digest = image.layers[0].digest
    async with (
        scripted(script) as storage,
        redirecting(upstream, f"{storage.url}/{{hex}}", HttpBlobCheck(transport, 5)) as host,
    ):
        answer = await ask(host, f"/v2/app/blobs/{digest}", NEAR)
        assert answer.header("Location") == f"http://{upstream.host}/v2/{APP}/blobs/{digest}"
        assert [head.split()[:2] for head in storage.heads] == [["HEAD", f"/{digest.hex}"]]
        await transport.close()


async def test_storage_that_hangs_holds_up_one_check_and_no_more(
    upstream: MockRegistry, image: MockImage, transport: CurlTransport
) -> None:
    """RD-05: after the timeout the site is left alone; clients get the upstream's blob."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.gone()

    async with (
        scripted(script) as storage,
        redirecting(upstream, f"{storage.url}/{{hex}}", HttpBlobCheck(transport, 0.1)) as host,
    ):
        for layer in image.layers:
            answer = await ask(host, f"/v2/app/blobs/{layer.digest}", NEAR)
            assert (
                answer.header(
                    "Location",
                )
                == f"http://{upstream.host}/v2/{APP}/blobs/{layer.digest}"
            )
        assert len(storage.heads) == 1


@pytest.mark.parametrize("variable", ["", "registry.example", "http://registry.example/v2/"])
def test_the_program_does_not_start_with_a_wrong_upstream(tmp_path: Path, variable: str) -> None:
    """RD-01: the variable is named, and the exit code is not 0."""
    done = subprocess.run(
        [RunningServer.program(), "serve", "--data", str(tmp_path / "data")],
        env=os.environ | {"UpstreamRegistry": variable, "PORT": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode != 0
    assert "UpstreamRegistry" in done.stderr
    assert "https" in done.stderr


def test_the_program_redirects_as_it_is_configured(
    start_server: StartServer, upstream: MockRegistry, image: MockImage, bucket: Bucket
) -> None:
    """RD-02, RD-03, RD-05: what the face does, the server that is put together does, too."""
    digest = image.layers[0].digest
    put(bucket, upstream, digest)
    server = start_server(
        config=f'''
[redirect]
upstream = "http://127.0.0.1:{upstream.port}/v2/{PREFIX}/"
[proxy]
trusted_proxies = ["127.0.0.0/8"]
[sites.near]
url = "{bucket.url}/{{hex}}"
networks = ["10.1.0.0/16"]
'''
    )
    blob = f"/v2/app/blobs/{digest}"
    with server.client() as client:
        assert client.get("/v2/").status == 200
        there = client.get("/v2/app/tags/list?n=1&last=a%2Fb")
        assert (there.status, there.header("Location")) == (
            307,
            f"http://{upstream.host}/v2/{APP}/tags/list?n=1&last=a%2Fb",
        )
        for forwarded, place in (
            (NEAR, f"{bucket.url}/{digest.hex}"),
            (f"{NEAR}, {FAR}", f"http://{upstream.host}/v2/{APP}/blobs/{digest}"),
            (FAR, f"http://{upstream.host}/v2/{APP}/blobs/{digest}"),
        ):
            sent = client.get(blob, {"X-Forwarded-For": forwarded})
            assert (sent.status, sent.header("Location")) == (307, place)
        assert upstream.host in client.get("/").body.decode()
    for line in (
        "GET /v2/_catalog",
        "GET /v2/app/../../etc/manifests/x",
        "GET /v2/app%2f..%2fb/manifests/x",
        "GET //evil.example/v2/app/manifests/x",
        "GET /v2/app/manifests/x%0d%0aSet-Cookie:a=b",
        "POST /v2/app/blobs/uploads/",
        "DELETE /v2/app/manifests/1.0.0",
        "GET http://evil.example/v2/_catalog",
    ):
        with server.client() as client:
            head = f"{line} HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n"
            answer = client.raw(head.encode() + b"Content-Length: 0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 4"), (line, answer)
        assert b"\r\nlocation:" not in answer.lower(), line


async def test_a_check_tells_what_it_could_not_find_out(transport: CurlTransport) -> None:
    async def busy(peer: Peer) -> None:
        await peer.head()
        await peer.send(respond(status="503 Slow Down"))

    async def hanging(peer: Peer) -> None:
        await peer.head()
        await peer.gone()

    check = HttpBlobCheck(transport, 0.1)
    async with scripted(busy) as storage:
        with pytest.raises(ConnectionLost, match="answered 503"):
            await check.has(f"{storage.url}/x")
    async with scripted(hanging) as storage:
        with pytest.raises(ConnectionLost, match=r"within 0\.1 s"):
            await check.has(f"{storage.url}/x")
    with pytest.raises(ConnectionLost):
        await check.has(f"{storage.url}/x")  # nobody is there any more
