"""The head of an HTTP/1.1 request, as far as the server itself acts on it (RFC 9112)."""

from dataclasses import dataclass
from typing import Final

import httptools

from entrepot.web.message import Header, Headers

VERSIONS: Final = frozenset({"1.0", "1.1"})


class Refused(Exception):
    """A request that can be parsed but not served; the connection ends with the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Head:
    """Method, target and framing. `length` is the body's in bytes, None if it is chunked."""

    method: str
    path: str
    query: str
    version: str
    headers: Headers
    length: int | None
    expects_continue: bool


def read_head(parser: httptools.HttpRequestParser, url: bytes, fields: list[Header]) -> Head:
    """Read what the parser has found. Raise Refused."""
    headers = Headers(fields)
    version = parser.get_http_version()
    if version not in VERSIONS:
        raise Refused(505, "this port speaks HTTP/1.1, HTTP/1.0 and HTTP/2")
    if version == "1.1" and len(headers.all("host")) != 1:
        raise Refused(400, "an HTTP/1.1 request needs exactly one Host header")
    path, query = _target(url)
    return Head(
        parser.get_method().decode("latin-1"),
        path,
        query,
        version,
        headers,
        _length(headers, version),
        version == "1.1" and (headers.get("expect") or "").lower() == "100-continue",
    )


def _length(headers: Headers, version: str) -> int | None:
    codings = headers.all("transfer-encoding")
    if codings:
        if version == "1.0":
            raise Refused(400, "HTTP/1.0 knows no transfer codings; send Content-Length")
        if len(codings) != 1 or codings[0].strip().lower() != "chunked":
            raise Refused(501, "the only transfer coding understood is chunked")
        return None
    announced = headers.get("content-length")
    return 0 if announced is None else int(announced)


def _target(url: bytes) -> tuple[str, str]:
    """Split a request target into path and query; absolute-form loses scheme and host."""
    text = url.decode("latin-1")
    if not text.startswith("/"):
        _, scheme, rest = text.partition("://")
        slash = rest.find("/")
        text = (rest[slash:] if slash >= 0 else "/") if scheme else text
    path, _, query = text.partition("?")
    return path, query
