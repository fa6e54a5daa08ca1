"""What can go wrong with an answer: refusals, redirects, and replies that lie.

Faults of the connection and of uploads are in `mock_connection_faults`. A fault is a callable
that gets the exchange; a test can write its own (see `mock_registry`).
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from entrepot.testing.mock_exchange import Exchange, Reply
from entrepot.testing.mock_origin import MockOrigin

_CODES: Final = {
    400: "UNSUPPORTED",
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "NAME_UNKNOWN",
    405: "UNSUPPORTED",
    429: "TOOMANYREQUESTS",
}
_HTML: Final = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n"


@dataclass(frozen=True, slots=True)
class Status:
    """Answers with a status; without a body of its own, with the spec's error JSON."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    body: bytes | None = None

    async def __call__(self, exchange: Exchange) -> Reply:
        if self.body is None:
            return Reply.of_error(
                self.code, _CODES.get(self.code, "UNKNOWN"), headers=dict(self.headers)
            )
        return Reply.of(self.code, self.body, dict(self.headers))


def ServerError(code: int = 503, headers: Mapping[str, str] | None = None) -> Status:  # noqa: N802
    """Answer with a 5xx and a body that is not the spec's."""
    return Status(code, headers or {}, b"upstream connect error\n")


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Answers 429; `retry_after` is seconds or an HTTP date, None for none."""

    retry_after: int | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)

    async def __call__(self, exchange: Exchange) -> Reply:
        told = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return Reply.of_error(429, "TOOMANYREQUESTS", headers=told | dict(self.headers))


class Challenge:
    """Answers 401 with these WWW-Authenticate lines, each as it is; with none, with none."""

    def __init__(self, *lines: str, code: int = 401) -> None:
        self.lines = lines
        self.code = code

    async def __call__(self, exchange: Exchange) -> Reply:
        lines = tuple(("WWW-Authenticate", line) for line in self.lines)
        return Reply.of_error(self.code, "UNAUTHORIZED", headers=lines)


@dataclass(frozen=True, slots=True)
class RedirectTo:
    """Redirects what would have been sent to another place. An origin gets blobs under
    `/objects/…` with a signed query, all else under the same path; a URL is used as it is,
    `{path}` and `{digest}` filled in. `relative` leaves scheme and host away, so that this
    origin is asked again."""

    target: MockOrigin | str
    status: int = 307
    relative: bool = False

    async def __call__(self, exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        if reply.status >= 400:
            return reply
        path = exchange.request.path
        digest = path.rpartition("/")[2].replace("%3A", ":")
        if isinstance(self.target, str):
            location = self.target.replace("{path}", path).replace("{digest}", digest)
        else:
            if "/blobs/" in path:
                path = f"/objects/{digest.replace(':', '/')}"
            signature = exchange.origin.new_secret("signature")
            location = f"{'' if self.relative else self.target.url}{path}?X-Signature={signature}"
        return Reply.of(self.status, b"", {"Location": location})


@dataclass(frozen=True, slots=True)
class RedirectLoop:
    """Redirects to the same path again and again; put it in place with `times=None`."""

    status: int = 307

    async def __call__(self, exchange: Exchange) -> Reply:
        turn = int(exchange.request.parameter("turn") or 0) + 1
        location = f"{exchange.origin.url}{exchange.request.path}?turn={turn}"
        return Reply.of(self.status, b"", {"Location": location})


@dataclass(frozen=True, slots=True)
class Headers:
    """Sets headers of the reply, or takes those away whose value is None."""

    values: Mapping[str, str | None] = field(hash=False)

    async def __call__(self, exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        for name, value in self.values.items():
            reply = reply.but(name, value)
        return reply


def NoDigestHeader() -> Headers:  # noqa: N802
    """Leave Docker-Content-Digest away."""
    return Headers({"Docker-Content-Digest": None})


def WrongDigestHeader(digest: object = f"sha256:{'0' * 64}") -> Headers:  # noqa: N802
    """Send a Docker-Content-Digest that is not the content's."""
    return Headers({"Docker-Content-Digest": str(digest)})


def WrongContentType(media_type: str | None = "text/plain") -> Headers:  # noqa: N802
    """Send another Content-Type, or none."""
    return Headers({"Content-Type": media_type})


@dataclass(frozen=True, slots=True)
class WrongDigest:
    """Changes one byte of the body, the one at `at` or the last; lengths and headers stay."""

    at: int = 0

    async def __call__(self, exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        at = min(self.at, (reply.length or 1) - 1)

        async def changed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            start = 0
            async for chunk in chunks:
                flipped = bytearray(chunk)
                if start <= at < start + len(chunk):
                    flipped[at - start] ^= 1
                start += len(chunk)
                yield bytes(flipped)

        return reply.through(changed)


@dataclass(frozen=True, slots=True)
class Instead:
    """Sends other bytes, with a true length, under the headers of the right ones."""

    content: bytes

    async def __call__(self, exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        return Reply.of(reply.status, self.content, reply.headers)


def BadJson() -> Instead:  # noqa: N802
    """Send a body that is cut in the middle of its JSON, with a true length."""
    return Instead(b'{"schemaVersion": 2, "manifests": [')


def HtmlError(code: int = 502) -> Status:  # noqa: N802
    """Answer as a proxy in front of the registry does; with 200, as a captive portal."""
    return Status(code, {"Content-Type": "text/html"}, _HTML)


@dataclass(frozen=True, slots=True)
class WrongLength:
    """Sends a Content-Length that is `by` bytes off, and hangs up behind the body."""

    by: int

    async def __call__(self, exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        return replace(reply, length=max(0, (reply.length or 0) + self.by))


@dataclass(frozen=True, slots=True)
class NoLength:
    """Sends the body chunked, without a Content-Length."""

    async def __call__(self, exchange: Exchange) -> Reply:
        return replace(await exchange.proceed(), length=None)


@dataclass(frozen=True, slots=True)
class Endless:
    """Sends the body, and then zeros without end."""

    async def __call__(self, exchange: Exchange) -> Reply:
        reply = await exchange.proceed()

        async def endless(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for chunk in chunks:
                yield chunk
            while True:
                yield bytes(16 << 10)

        return replace(reply.through(endless), length=None)


@dataclass(frozen=True, slots=True)
class NoRange:
    """Ignores Range: 200 and all of the content."""

    async def __call__(self, exchange: Exchange) -> Reply:
        exchange.request = exchange.request.without("range", "if-range")
        return (await exchange.proceed()).but("Accept-Ranges", None)


@dataclass(frozen=True, slots=True)
class WrongRange:
    """Answers a Range with 206 and bytes that lie `by` bytes further on (or before).

    With `honest`, Content-Range says which they are; else it says what was asked for.
    """

    by: int = 1
    honest: bool = False

    async def __call__(self, exchange: Exchange) -> Reply:
        asked = exchange.request.header("range")
        if asked is None:
            return await exchange.proceed()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        moved = f"bytes={max(0, int(first) + self.by)}-{int(last) + self.by if last else ''}"
        request = exchange.request.without("range")
        exchange.request = replace(request, headers=(*request.headers, ("Range", moved)))
        reply = await exchange.proceed()
        if self.honest:
            return reply
        end = int(first) + (reply.length or 0) - 1
        size = (reply.header("content-range") or "").rpartition("/")[2]
        return reply.but("Content-Range", f"bytes {first}-{end}/{size}")
