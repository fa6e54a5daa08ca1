"""Every fault of the mock registry does what it says, to the requests it is meant for."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from itertools import count

import pytest

from entrepot.testing import (
    AcceptThenFail,
    BadJson,
    Challenge,
    Delay,
    DoThenDrop,
    DropConnection,
    Endless,
    Exchange,
    Headers,
    HtmlError,
    Instead,
    LoseUpload,
    MockImage,
    MockRegistry,
    NoDigestHeader,
    NoLength,
    NoRange,
    RateLimited,
    RedirectLoop,
    RedirectTo,
    Refuse100,
    Reply,
    Reset,
    ServerError,
    Slow,
    Stall,
    Status,
    Truncate,
    UploadOffsetLies,
    WrongContentType,
    WrongDigest,
    WrongDigestHeader,
    WrongLength,
    WrongRange,
)
from entrepot.testing.mock_exchange import What
from tests.http_client import Client, Response

NAME = "tests/faults"
UPLOADS = f"/v2/{NAME}/blobs/uploads/"
Check = Callable[[Response, Response], bool]
"""Compares the reply that is right with the one of the fault."""


@pytest.fixture
def registry() -> Iterator[MockRegistry]:
    with MockRegistry() as registry:
        yield registry


@pytest.fixture
def image(registry: MockRegistry) -> MockImage:
    return registry.add_image(NAME, "1.0", layer_size=200_000)


@pytest.fixture
def client(registry: MockRegistry) -> Iterator[Client]:
    with Client("127.0.0.1", registry.port, timeout=5) as client:
        yield client


ANSWERS: list[tuple[What, Check]] = [
    (Status(403), lambda _, bad: (bad.status, bad.json()["errors"][0]["code"]) == (403, "DENIED")),
    (Status(418, {"X": "y"}, b"tea"), lambda _, bad: (bad.header("x"), bad.body) == ("y", b"tea")),
    (ServerError(504), lambda _, bad: bad.status == 504 and b"errors" not in bad.body),
    (HtmlError(), lambda _, bad: bad.status == 502 and bad.header("content-type") == "text/html"),
    (RateLimited(), lambda _, bad: bad.status == 429 and bad.header("retry-after") is None),
    (RateLimited(3), lambda _, bad: bad.header("retry-after") == "3"),
    (
        RateLimited("soon", {"ratelimit-remaining": "0;w=21600"}),
        lambda _, bad: bad.header("ratelimit-remaining") == "0;w=21600",
    ),
    (Challenge(), lambda _, bad: bad.status == 401 and not bad.all("www-authenticate")),
    (
        Challenge('Basic realm="a"', "Bearer odd, x"),
        lambda _, bad: bad.all("www-authenticate") == ['Basic realm="a"', "Bearer odd, x"],
    ),
    (Delay(0.01), lambda good, bad: bad == good),
    (Slow(50_000_000), lambda good, bad: bad == good),
    (NoDigestHeader(), lambda good, bad: _differ_in(good, bad, "docker-content-digest", None)),
    (
        WrongDigestHeader("sha256:0"),
        lambda good, bad: _differ_in(good, bad, "docker-content-digest", "sha256:0"),
    ),
    (WrongContentType(), lambda good, bad: _differ_in(good, bad, "content-type", "text/plain")),
    (WrongContentType(None), lambda good, bad: _differ_in(good, bad, "content-type", None)),
    (Headers({"ETag": "x"}), lambda good, bad: _differ_in(good, bad, "etag", "x")),
    (WrongDigest(), lambda good, bad: bad.body[1:] == good.body[1:] and bad.body != good.body),
    (WrongDigest(at=9**9), lambda good, bad: _differences(good, bad) == [len(good.body) - 1]),
    (WrongDigest(at=70_000), lambda good, bad: _differences(good, bad) == [70_000]),
    (Instead(b"x"), lambda good, bad: (bad.status, bad.body) == (good.status, b"x")),
    (BadJson(), lambda good, bad: bad.status == 200 and bad.body.startswith(b"{")),
    (NoLength(), lambda good, bad: bad.header("content-length") is None and bad.body == good.body),
    (WrongLength(-5), lambda good, bad: bad.body == good.body[:-5]),
]


@pytest.mark.parametrize(("fault", "check"), ANSWERS, ids=count())
def test_an_answer_is_as_bad_as_told_and_good_again_after_it(
    registry: MockRegistry, client: Client, image: MockImage, fault: What, check: Check
) -> None:
    path = image.blob_path(1)
    good = client.get(path)
    placed = registry.fault(fault, path="*/blobs/*")
    bad = client.get(path)
    assert check(good, bad), bad.headers
    assert (placed.matched, placed.applied) == (1, 1)
    if isinstance(fault, WrongLength):
        client.close()  # its last bytes stand where the next reply should
    assert client.get(path) == good


def _differ_in(good: Response, bad: Response, name: str, value: str | None) -> bool:
    kept = [line for line in good.headers if line[0].lower() != name]
    left = [line for line in bad.headers if line[0].lower() != name]
    return bad.header(name) == value and left == kept and bad.body == good.body


def _differences(good: Response, bad: Response) -> list[int]:
    pairs = enumerate(zip(good.body, bad.body, strict=True))
    return [at for at, (one, other) in pairs if one != other]


BREAKS: list[tuple[What, type[Exception], int | None]] = [
    (Truncate(1000), IncompleteRead, 1000),
    (Truncate(0), IncompleteRead, 0),
    (Reset(100_000), ConnectionResetError, 100_000),
    (Reset(), ConnectionResetError, 0),
    (DropConnection(), RemoteDisconnected, None),
    (DropConnection(reset=True), ConnectionResetError, None),
    (WrongLength(5), IncompleteRead, None),
]


@pytest.mark.parametrize(("fault", "error", "sent"), BREAKS, ids=lambda one: repr(one)[:40])
def test_a_connection_ends_as_told(
    registry: MockRegistry,
    client: Client,
    image: MockImage,
    fault: What,
    error: type[Exception],
    sent: int | None,
) -> None:
    registry.fault(fault)
    with pytest.raises(error):
        client.get(image.blob_path(1))
    (broken,) = registry.wait_for(1, ended=True)
    if sent is not None:
        assert (broken.status, broken.bytes_sent) == (200, sent)
    client.close()
    assert client.get(image.blob_path(1)).status == 200


def test_bytes_before_a_reset_arrive(registry: MockRegistry, image: MockImage) -> None:
    registry.fault(Reset(50_000))
    connection = HTTPConnection(registry.host, timeout=5)
    connection.request("GET", image.blob_path(1))
    with connection.getresponse() as response:
        assert len(response.read(50_000)) == 50_000
        with pytest.raises(ConnectionResetError):
            response.read(1)
    connection.close()


def test_slow_is_as_slow_as_told(registry: MockRegistry, client: Client, image: MockImage) -> None:
    registry.fault(Slow(4_000_000))
    started = time.monotonic()
    client.get(image.blob_path(1))
    assert time.monotonic() - started > 0.045  # 200 KB


def arrived(connection: socket.socket) -> bytes:
    """Return what comes until nothing more does."""
    read = b""
    with suppress(TimeoutError):
        while data := connection.recv(65536):
            read += data
    return read


@pytest.mark.parametrize(("at", "seen"), [("head", 0), ("body", 50_000)])
def test_what_stands_still_goes_on_when_released(
    registry: MockRegistry, image: MockImage, at: str, seen: int
) -> None:
    stall = Stall(at="head") if at == "head" else Stall(50_000)
    standing = registry.fault(stall, path=image.blob_path(1))
    with socket.create_connection(("127.0.0.1", registry.port), timeout=0.05) as connection:
        request = f"GET {image.blob_path(1)} HTTP/1.1\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        standing.wait()
        read = arrived(connection)
        assert len(read.partition(b"\r\n\r\n")[2]) == seen
        standing.release()
        read += arrived(connection)
    assert len(read.partition(b"\r\n\r\n")[2]) == image.layers[0].size


def test_an_endless_body_has_no_end(registry: MockRegistry, image: MockImage) -> None:
    registry.fault(Endless())
    connection = HTTPConnection(registry.host, timeout=5)
    connection.request("GET", image.path)
    with connection.getresponse() as response:
        assert response.length is None
        assert response.read(1_000_000) == image.manifest + bytes(1_000_000 - len(image.manifest))
    connection.close()


def test_ranges_that_are_ignored_or_wrong(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    path, asked = image.blob_path(1), {"Range": "bytes=1000-1999"}
    whole = client.get(path).body
    registry.fault(NoRange())
    ignored = client.get(path, asked)
    assert (ignored.status, ignored.body) == (200, whole)
    registry.fault(WrongRange(10))
    lying = client.get(path, asked)
    assert (lying.status, lying.body) == (206, whole[1010:2010])
    assert lying.header("content-range") == f"bytes 1000-1999/{len(whole)}"
    registry.fault(WrongRange(-10, honest=True))
    other = client.get(path, asked)
    assert other.body == whole[990:1990]
    assert other.header("content-range") == f"bytes 990-1989/{len(whole)}"


def test_redirects_lead_to_another_origin_that_has_the_content(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    storage = registry.other_origin(refuse_authorization=True)
    registry.fault(RedirectTo(storage, 302), path="*/blobs/*", times=None)
    moved = client.get(image.blob_path(1))
    location = str(moved.header("location"))
    assert moved.status == 302
    assert location.startswith(storage.url)
    assert any(secret in location for secret in registry.secrets)
    with Client("127.0.0.1", storage.port, timeout=5) as away:
        read = away.get(location, {"Range": "bytes=5-"})
        assert (read.status, len(read.body)) == (206, image.layers[0].size - 5)
        assert away.get(location, {"Authorization": "Bearer leaked"}).status == 400
    assert (registry.count(), storage.count()) == (1, 2)


def test_redirects_within_the_origin_to_a_url_and_in_circles(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    registry.fault(RedirectTo(registry, relative=True))
    location = str(client.get(image.blob_path(1)).header("location"))
    assert location.startswith("/objects/sha256/")
    assert len(client.get(location).body) == image.layers[0].size
    registry.fault(RedirectTo("https://cdn.example/{digest}", 303))
    moved = client.get(image.blob_path(1))
    assert moved.header("location") == f"https://cdn.example/{image.layers[0].digest}"
    registry.fault(RedirectLoop(), times=None)
    location = image.path
    for turn in range(1, 4):
        location = str(client.get(location).header("location"))
        assert location == f"{registry.url}{image.path}?turn={turn}"


def test_a_redirect_needs_something_to_redirect(registry: MockRegistry, client: Client) -> None:
    registry.fault(RedirectTo("https://cdn.example/"))
    assert client.get(f"/v2/{NAME}/manifests/none").status == 404


def start(client: Client) -> str:
    return str(client.post(UPLOADS).header("location"))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("status", [None, 500, 413])
def test_an_upload_is_accepted_and_then_fails(
    registry: MockRegistry, client: Client, status: int | None, keep: bool
) -> None:
    registry.fault(AcceptThenFail(70_000, status, keep=keep), method="PATCH")
    location = start(client)
    if status is None:
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.patch(location, bytes(1_000_000))
        client.close()
    else:
        assert client.patch(location, bytes(1_000_000)).status == status
    (failed,) = registry.wait_for(1, "PATCH", ended=True)
    assert failed.bytes_received == (70_000 if status is None else 1_000_000)
    assert client.get(location).header("range") == ("0-69999" if keep else "0-0")


def test_an_upload_stands_still(registry: MockRegistry, client: Client) -> None:
    standing = registry.fault(Stall(50_000, at="upload"), method="PATCH")
    head = f"PATCH {client.target(start(client))} HTTP/1.1\r\nContent-Length: 90000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", registry.port), timeout=5) as connection:
        connection.sendall(head.encode() + bytes(90_000))
        registry.until(lambda: registry.bytes_received == 50_000, 5, "the first bytes")
        assert registry.requests[-1].status == 0
        standing.release()
        assert connection.recv(100).startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize(("by", "told"), [(-10, "0-89"), (10, "0-109"), (-1000, "0-0")])
def test_an_upload_lies_about_its_offset(
    registry: MockRegistry, client: Client, by: int, told: str
) -> None:
    registry.fault(UploadOffsetLies(by), method="PATCH")
    lying = client.patch(start(client), bytes(100))
    assert lying.header("range") == told
    assert client.get(str(lying.header("location"))).header("range") == "0-99"


def test_an_upload_is_lost(registry: MockRegistry, client: Client) -> None:
    registry.fault(LoseUpload(), method="PATCH")
    location = start(client)
    lost = client.patch(location, bytes(100))
    assert (lost.status, lost.json()["errors"][0]["code"]) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert client.get(location).status == 404


def test_what_was_done_may_look_as_if_it_was_not(registry: MockRegistry, client: Client) -> None:
    registry.fault(DoThenDrop(), method="PATCH")
    location = start(client)
    with pytest.raises(RemoteDisconnected):
        client.patch(location, bytes(100))
    client.close()
    assert client.get(location).header("range") == "0-99"


def test_a_client_that_asks_whether_to_send(registry: MockRegistry, client: Client) -> None:
    refused = registry.fault(Refuse100(), method="PATCH")
    head = f"PATCH {client.target(start(client))} HTTP/1.1\r\nContent-Length: 5\r\n"
    head += "Expect: 100-continue\r\n\r\n"
    assert client.raw(head.encode()).startswith(b"HTTP/1.1 417 ")
    refused.remove()
    answer = client.raw(head.encode() + b"bytes")
    assert re.match(rb"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ", answer)
    assert [one.bytes_received for one in registry.matching("PATCH")] == [0, 5]


def statuses(client: Client, path: str, requests: int) -> list[int]:
    return [client.get(path).status for _ in range(requests)]


def test_faults_come_as_often_as_told(registry: MockRegistry, client: Client) -> None:
    registry.fault(Status(503), times=2)
    assert statuses(client, "/v2/", 4) == [503, 503, 200, 200]
    registry.fault(Status(503), after=2)
    assert statuses(client, "/v2/", 4) == [200, 200, 503, 200]
    always = registry.fault(Status(503), times=None)
    assert statuses(client, "/v2/", 3) == [503] * 3
    always.remove()
    registry.fault(Status(500))
    registry.fault(Status(429))
    assert statuses(client, "/v2/", 3) == [500, 429, 200]


WHICH: list[tuple[dict[str, object], bool]] = [
    ({"method": "GET"}, True),
    ({"method": "P*"}, False),
    ({"path": "*/blobs/sha256:*"}, True),
    ({"path": "*/manifests/*"}, False),
    ({"path": re.compile(r"/blobs/sha\d+:")}, True),
    ({"path": re.compile(r"^blobs")}, False),
    ({"repository": NAME}, True),
    ({"repository": "tests/*"}, True),
    ({"repository": "tests"}, False),
    ({"when": lambda request: request.header("x-mine") == "yes"}, True),
    ({"when": lambda request: request.header("x-mine") is None}, False),
    ({"method": "GET", "repository": "other"}, False),
]


@pytest.mark.parametrize(("which", "taken"), WHICH, ids=count())
def test_faults_are_for_the_requests_told(
    registry: MockRegistry,
    client: Client,
    image: MockImage,
    which: dict[str, object],
    taken: bool,
) -> None:
    registry.fault(Status(503), **which)  # type: ignore[arg-type]
    assert client.get(image.blob_path(1), {"X-Mine": "yes"}).status == (503 if taken else 200)


def test_faults_may_be_for_one_digest(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    registry.fault(Status(503), digest=image.layers[1].digest, times=None)
    assert client.get(image.blob_path(1)).status == 200
    assert client.get(image.blob_path(2)).status == 503
    assert client.get(image.blob_path(2).replace(":", "%3A")).status == 503
    assert client.post(f"{UPLOADS}?digest={image.layers[1].digest}").status == 503


def test_faults_of_one_call_come_together(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    good = client.get(image.blob_path(1))
    registry.fault(NoDigestHeader(), WrongDigest(), NoLength())
    bad = client.get(image.blob_path(1))
    assert bad.header("docker-content-digest") is bad.header("content-length") is None
    assert _differences(good, bad) == [0]


def test_a_fault_of_ones_own(registry: MockRegistry, client: Client, image: MockImage) -> None:
    seen: list[str] = []

    def look(exchange: Exchange) -> None:
        seen.append(exchange.request.path)

    async def change(exchange: Exchange) -> Reply:
        return (await exchange.proceed()).but("X-Mine", "yes")

    registry.fault(look, change, times=None)
    registry.fault(lambda exchange: Reply.of_json(200, {"mine": True}), path="*/tags/list")
    assert client.get(image.path).header("x-mine") == "yes"
    tags = client.get(f"/v2/{NAME}/tags/list")
    assert (json.loads(tags.body), tags.header("x-mine")) == ({"mine": True}, "yes")
    assert seen == [image.path, f"/v2/{NAME}/tags/list"]


def test_healing_removes_every_fault(registry: MockRegistry, client: Client) -> None:
    for code in (500, 503):
        registry.fault(Status(code), times=None)
    registry.heal()
    assert statuses(client, "/v2/", 2) == [200, 200]
