"""HTTP/1.1 as the server speaks it: messages and their framing, one connection at a time."""

from collections.abc import Iterator

import pytest

from tests.integration.conformance.content import Content, random_blob
from tests.integration.conformance.expectations import assert_refused
from tests.integration.conformance.repository import Repository
from tests.server import RunningServer
from tests.wire import Wire, request


@pytest.fixture
def wire(server: RunningServer) -> Iterator[Wire]:
    with Wire.to(server) as wire:
        yield wire


@pytest.fixture
def repository(server: RunningServer, name: str) -> Iterator[Repository]:
    with server.client() as client:
        yield Repository(client, name)


@pytest.fixture
def blob(repository: Repository) -> Content:
    """A blob that is in the repository."""
    blob = random_blob(700)
    assert repository.push(blob, "post only").status == 201
    return blob


# ── connections ──────────────────────────────────────────────────────────────────────────────


def test_a_connection_serves_one_request_after_another(wire: Wire) -> None:
    for _ in range(5):
        response = wire.get("/v2/")
        assert response.status == 200
        assert response.header("Connection") is None


def test_connection_close_is_obeyed(wire: Wire) -> None:
    response = wire.get("/v2/", "Connection: close")
    assert (response.status, response.header("Connection")) == (200, "close")
    assert wire.rest() == b""


def test_http_1_0_is_answered_and_closed(wire: Wire) -> None:
    wire.send(b"GET /v2/ HTTP/1.0\r\n\r\n")
    assert wire.response().status == 200
    assert wire.rest() == b""


def test_http_1_0_bodies_are_never_chunked(
    wire: Wire, repository: Repository, blob: Content
) -> None:
    wire.send(f"GET {repository.blob(blob.digest)} HTTP/1.0\r\n\r\n".encode())
    response = wire.response()
    assert response.header("Transfer-Encoding") is None
    assert response.body == blob.content


def test_a_half_closed_client_still_gets_its_answers(wire: Wire) -> None:
    wire.send(request("GET", "/v2/") + request("GET", "/v2/_catalog"))
    wire.finish()
    assert wire.response().status == 200
    assert "repositories" in wire.response().json()
    assert wire.rest() == b""


def test_a_header_may_arrive_byte_by_byte(wire: Wire) -> None:
    for byte in request("GET", "/v2/", "X-Long: " + "y" * 100):
        wire.send(bytes([byte]))
    assert wire.response().status == 200


def test_empty_lines_before_a_request_are_passed_over(wire: Wire) -> None:
    wire.send(b"\r\n\r\n" + request("GET", "/v2/"))
    assert wire.response().status == 200


# ── pipelining ───────────────────────────────────────────────────────────────────────────────


def test_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    wire.send(b"".join(request("GET", f"/v2/nothing/{n}/here") for n in range(200)))
    for n in range(200):
        assert f"nothing/{n}/here" in assert_refused(wire.response(), 404, "NOT_FOUND")["message"]


@pytest.mark.parametrize("inside", [1, 20, 54])
def test_a_burst_of_requests_may_be_larger_than_a_header(
    server: RunningServer, inside: int
) -> None:
    """It is each header that is bounded, not all that arrives at once, wherever that is cut."""
    asked = [request("GET", f"/v2/nothing/{n}/here") for n in range(4000)]
    first = b"".join(asked[:3000]) + asked[3000][:inside]
    second = asked[3000][inside:] + b"".join(asked[3001:])
    with Wire.to(server) as wire:
        for burst, answered in ((first, range(3000)), (second, range(3000, 4000))):
            wire.send(burst)
            for n in answered:
                message = assert_refused(wire.response(), 404, "NOT_FOUND")["message"]
                assert f"nothing/{n}/here" in message


def test_pipelined_requests_may_have_bodies(wire: Wire, repository: Repository) -> None:
    """A push and the pull of what it pushed, in one go."""
    blobs = [random_blob(size) for size in (1, 70_000, 300, 1_500_000, 2)]
    for blob in blobs:
        target = f"{repository.path('blobs', 'uploads', '')}?digest={blob.digest}"
        wire.send(request("POST", target, body=blob.content))
        wire.send(request("GET", repository.blob(blob.digest)))
    for blob in blobs:
        assert wire.response("POST").status == 201
        assert wire.response().body == blob.content


def test_a_head_among_pipelined_requests_has_no_body(
    wire: Wire, repository: Repository, blob: Content
) -> None:
    target = repository.blob(blob.digest)
    wire.send(request("HEAD", target) + request("GET", target) + request("HEAD", target))
    first, second, third = wire.response("HEAD"), wire.response(), wire.response("HEAD")
    assert second.body == blob.content
    assert first.header("Content-Length") == third.header("Content-Length") == "700"


# ── request bodies ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sizes", [[1] * 50, [7, 1, 4096, 3], [200_000, 1]], ids=str)
def test_chunked_bodies_of_any_shape(wire: Wire, repository: Repository, sizes: list[int]) -> None:
    blob = random_blob(sum(sizes))
    target = f"{repository.path('blobs', 'uploads', '')}?digest={blob.digest}"
    wire.send(request("POST", target, "Transfer-Encoding: chunked"))
    start = 0
    for size in sizes:
        wire.send(b"%X;a=b\r\n%b\r\n" % (size, blob.content[start : start + size]))
        start += size
    wire.send(b"0\r\nX-Trailer: passed over\r\n\r\n")
    assert wire.response("POST").status == 201
    assert wire.get(repository.blob(blob.digest)).body == blob.content


def test_a_client_that_expects_100_is_told_to_go_on(wire: Wire, repository: Repository) -> None:
    blob = random_blob(5000)
    target = f"{repository.path('blobs', 'uploads', '')}?digest={blob.digest}"
    wire.send(request("POST", target, "Content-Length: 5000", "Expect: 100-continue"))
    assert wire.response("POST").status == 100
    wire.send(blob.content)
    assert wire.response("POST").status == 201


def test_a_client_that_expects_100_is_refused_before_it_sends(
    wire: Wire, repository: Repository
) -> None:
    target = repository.path("blobs", "uploads", "") + "?digest=nonsense"
    wire.send(request("POST", target, "Content-Length: 5000", "Expect: 100-continue"))
    assert_refused(wire.response("POST"), 400, "DIGEST_INVALID")


def test_a_refused_body_does_not_hide_the_refusal(wire: Wire, repository: Repository) -> None:
    """The client has sent megabytes that nobody reads, and still learns why."""
    blob = random_blob(4 << 20)
    target = repository.path("blobs", "uploads", "unknown") + f"?digest={blob.digest}"
    wire.send(request("PUT", target, body=blob.content))
    assert_refused(wire.response("PUT"), 404, "BLOB_UPLOAD_UNKNOWN")


def test_a_connection_broken_in_a_body_leaves_the_upload_open(
    server: RunningServer, repository: Repository
) -> None:
    blob = random_blob(100_000)
    location = repository.start_upload()
    with Wire.to(server) as wire:
        wire.send(request("PATCH", location, "Content-Length: 100000") + blob.content[:60_000])
        wire.finish()
        assert_refused(wire.response("PATCH"), 408, "TIMEOUT")
    status = repository.client.get(location)
    assert (status.status, status.header("Range")) == (204, "0-59999")
    location = repository.put_chunk(location, blob.content[60_000:], 60_000).header("Location")
    assert location
    assert repository.close_upload(location, blob.digest).status == 201


# ── what is refused ──────────────────────────────────────────────────────────────────────────

MALFORMED = {
    "no host": b"GET /v2/ HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a NUL in a header": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "a NUL in the target": b"GET /v2/\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in a header's name": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n",
    "a folded header": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    "bare line feeds": b"GET /v2/ HTTP/1.1\nHost: a\n\n",
    "two lengths": b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\n"
    b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "a list of lengths": b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\n"
    b"Content-Length: 3, 3\r\n\r\nabc",
    "a negative length": b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\n"
    b"Content-Length: -1\r\n\r\n",
    "a length beyond 64 bits": b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\n"
    b"Content-Length: 99999999999999999999\r\n\r\n",
    "a length and chunks": b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\n"
    b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "chunked, but not at last": b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked, gzip\r\n\r\nabc",
    "a vertical tab before chunked": b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "HTTP/2 of another kind": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_requests_are_400_and_end_the_connection(
    server: RunningServer, data: bytes
) -> None:
    with Wire.to(server) as wire:
        wire.send(data)
        assert_refused(wire.response(), 400, "BAD_REQUEST")
        assert wire.rest() == b""
    with Wire.to(server) as next_one:
        assert next_one.get("/v2/").status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        bytes(range(256)),
        b"GET /v2/\r\n\r\n",
        b"GET /v2/ HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /v2/ HTTP/3.0\r\nHost: a\r\n\r\n",
        b"GET /v2/ HTTPS/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=repr,
)
def test_what_is_not_http_1_is_refused(server: RunningServer, data: bytes) -> None:
    with Wire.to(server) as wire:
        wire.send(data)
        response = wire.response()
        assert_refused(response, (400, 501, 505), response.json()["errors"][0]["code"])
        assert wire.rest() == b""


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "identity"])
def test_codings_of_a_body_that_are_not_understood(
    wire: Wire, repository: Repository, coding: str
) -> None:
    """Taking such a body as it comes would store what the client did not mean (RFC 9112, 6.1)."""
    blob = Content(b"abc")
    target = f"{repository.path('blobs', 'uploads', '')}?digest={blob.digest}"
    wire.send(request("POST", target, f"Transfer-Encoding: {coding}") + b"3\r\nabc\r\n0\r\n\r\n")
    response = wire.response("POST")
    assert_refused(response, (400, 501), response.json()["errors"][0]["code"])
    assert repository.head_blob(blob.digest).status == 404


@pytest.mark.parametrize(
    "chunks",
    [
        b"xyz\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFFF\r\nabc\r\n",
        b"3\nabc\n0\n\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3 \x01\r\nabc\r\n0\r\n\r\n",
    ],
    ids=repr,
)
def test_malformed_chunks_break_the_body(
    server: RunningServer, repository: Repository, chunks: bytes
) -> None:
    """Nothing of such a body may become a blob, and the connection must not be reused."""
    blob = Content(b"abc")
    target = f"{repository.path('blobs', 'uploads', '')}?digest={blob.digest}"
    with Wire.to(server) as wire:
        wire.send(request("POST", target, "Transfer-Encoding: chunked") + chunks)
        assert wire.response("POST").status == 400
        assert wire.rest() == b""
    assert repository.head_blob(blob.digest).status == 404


def test_what_follows_a_malformed_request_is_no_request(server: RunningServer) -> None:
    """Else a proxy in front and the server could see different requests (smuggling)."""
    hidden = request("GET", "/v2/hidden/tags/list")
    with Wire.to(server) as wire:
        wire.send(MALFORMED["a length and chunks"] + hidden)
        assert_refused(wire.response(), 400, "BAD_REQUEST")
        assert wire.rest() == b""


@pytest.mark.parametrize(
    "headers",
    ["X-Long: " + "y" * 70_000, "\r\n".join(f"X-{n}: {'y' * 50}" for n in range(1200))],
    ids=["one", "many"],
)
def test_a_header_beyond_the_limit_is_431(server: RunningServer, headers: str) -> None:
    with Wire.to(server) as wire:
        wire.send(request("GET", "/v2/", headers))
        assert wire.response().status == 431
    with Wire.to(server) as wire:  # and when it never ends
        wire.send(request("GET", "/v2/", headers)[:-4])
        assert wire.response().status == 431


def test_a_target_beyond_the_limit_is_refused(wire: Wire) -> None:
    wire.send(request("GET", "/v2/" + "a" * 70_000))
    assert wire.response().status in (414, 431)


@pytest.mark.parametrize("method", ["FOO", "get", "PROPFIND", "TRACE", "CONNECT"])
def test_methods_that_mean_nothing_here(wire: Wire, method: str) -> None:
    wire.send(request(method, "registry.test:443" if method == "CONNECT" else "/v2/"))
    response = wire.response()
    assert_refused(response, (400, 404, 405, 501), response.json()["errors"][0]["code"])
    if response.status == 405:
        assert response.header("Allow") == "GET, HEAD"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://registry.test/v2/", 200),
        ("http://other.test:1/v2/?x", 200),
        ("http://registry.test", 200),  # the page
        ("*", 404),
        ("/v2/%00/tags/list", 400),
        ("/v2/../../etc/passwd", 404),
        ("/v2/../blobs/uploads/", 400),
        ("/v2/a/blobs/../../../../etc/passwd", 404),
        ("/v2/a/manifests/..%2F..%2Fmetadata.db", 400),
        ("/v2/%2e%2e/manifests/latest", 400),
        ("/v2/a/blobs/uploads/..%2f..%2fmetadata.db", 404),
        ("//v2/", 404),
        ("/v2//", 404),
        ("/v2/?%zz&=&&a", 200),
        ("/v2/\xff/tags/list", 400),
    ],
)
def test_strange_targets(server: RunningServer, target: str, status: int) -> None:
    with Wire.to(server) as wire:
        response = wire.get(target)
    assert response.status == status, response
    if status != 200:
        assert response.json()["errors"][0]["message"]
