"""An HTTP/1.1 client for tests: every byte of the exchange is the test's to choose.

Nothing is followed, retried or decoded. Requests say `Accept-Encoding: gzip`, as real clients
do, so a response that was compressed on the way does not go unnoticed.
"""

import email.parser
import email.policy
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

Body = bytes | Iterable[bytes] | None
"""A body: bytes are sent with Content-Length, an iterable of bytes is sent chunked."""

HeaderItems = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Response:
    """A response as it arrived; `headers` keeps order and repetition."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first value of a header, None if it is not there."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        """Return every value of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        """Return the body read as JSON."""
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.status} {dict(self.headers)} {self.body[:400]!r}"


class Client:
    """One connection to `host:port`, opened when needed and kept alive between requests."""

    def __init__(self, host: str, port: int, *, timeout: float = 30.0) -> None:
        self.address = (host, port)
        self._connection = HTTPConnection(host, port, timeout=timeout)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        self._connection.close()

    def request(
        self, method: str, target: str, body: Body = None, headers: HeaderItems = ()
    ) -> Response:
        """Send a request and read its response whole.

        `target` is a path or a URL of this server. Content-Length and Transfer-Encoding follow
        from the body unless `headers` name them.
        """
        given = list(headers.items() if isinstance(headers, Mapping) else headers)
        names = {name.lower() for name, _ in given}
        connection = self._connection
        connection.putrequest(method, self.target(target), skip_accept_encoding=True)
        if "accept-encoding" not in names:
            connection.putheader("Accept-Encoding", "gzip")
        chunked = False
        if body is None or isinstance(body, bytes):
            if "content-length" not in names and (body is not None or _expects_body(method)):
                connection.putheader("Content-Length", str(len(body or b"")))
        else:
            chunked = True
            connection.putheader("Transfer-Encoding", "chunked")
        for name, value in given:
            connection.putheader(name, value)
        # A server that refuses before all of the body is sent has answered why.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.endheaders(body if chunked or body else None, encode_chunked=chunked)
        return _read(connection.getresponse())

    def get(self, target: str, headers: HeaderItems = ()) -> Response:
        return self.request("GET", target, None, headers)

    def head(self, target: str, headers: HeaderItems = ()) -> Response:
        return self.request("HEAD", target, None, headers)

    def post(self, target: str, body: Body = None, headers: HeaderItems = ()) -> Response:
        return self.request("POST", target, body, headers)

    def put(self, target: str, body: Body = None, headers: HeaderItems = ()) -> Response:
        return self.request("PUT", target, body, headers)

    def patch(self, target: str, body: Body = None, headers: HeaderItems = ()) -> Response:
        return self.request("PATCH", target, body, headers)

    def delete(self, target: str, headers: HeaderItems = ()) -> Response:
        return self.request("DELETE", target, None, headers)

    def target(self, location: str) -> str:
        """Return the request target of a URL of this server, absolute or relative."""
        parts = urlsplit(location)
        if parts.netloc:
            assert parts.netloc == f"{self.address[0]}:{self.address[1]}", location
        path = parts.path or "/"
        return f"{path}?{parts.query}" if parts.query else path

    def raw(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own and return all that comes back until it ends."""
        with socket.create_connection(self.address, timeout=self._connection.timeout) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b""))


def with_query(location: str, parameters: Mapping[str, str]) -> str:
    """Return a URL with parameters set, its query decoded, sorted and encoded again.

    That is what clients' URL libraries do to an upload's Location.
    """
    parts = urlsplit(location)
    query = dict(parse_qsl(parts.query, keep_blank_values=True)) | dict(parameters)
    return parts._replace(query=urlencode(sorted(query.items()))).geturl()


def parts(response: Response) -> list[tuple[str | None, bytes]]:
    """Read a multipart/byteranges body as (Content-Range, bytes)."""
    head = f"Content-Type: {response.header('Content-Type')}\r\n\r\n".encode()
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(head + response.body)
    assert message.get_content_type() == "multipart/byteranges"
    assert not message.defects
    boundary = message.get_boundary()
    assert boundary
    # The parser may touch line ends inside a part, so the bytes are cut out by hand.
    pieces = response.body.split(b"--" + boundary.encode())[1:-1]
    assert len(pieces) == len(list(message.iter_parts()))
    return [
        (part["Content-Range"], piece.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
        for part, piece in zip(message.iter_parts(), pieces, strict=True)
    ]


def next_link(response: Response) -> str | None:
    """Return the target of the `Link` with `rel="next"`, None if there is none."""
    for value in response.all("Link"):
        target, _, parameters = value.partition(">")
        if target.startswith("<") and parameters.replace(" ", "") in (';rel="next"', ";rel=next"):
            return target[1:]
    return None


def pages(client: Client, target: str) -> Iterator[Response]:
    """Yield the response at `target` and at every next link behind it."""
    following: str | None = target
    while following is not None:
        response = client.get(following)
        yield response
        link = next_link(response)
        following = None if link is None else urljoin(following, link)


def _expects_body(method: str) -> bool:
    return method in ("POST", "PUT", "PATCH")


def _read(response: HTTPResponse) -> Response:
    return Response(response.status, tuple(response.getheaders()), response.read())
