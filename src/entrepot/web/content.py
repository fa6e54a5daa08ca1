"""Content in responses: whole, in part, or "not modified" (RFC 9110, sections 13 and 14)."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

from entrepot.oci.digest import Digest
from entrepot.ports.delivery import Delivery, Redirect, Stream
from entrepot.protocol.conditional import etag, if_none_match
from entrepot.protocol.ranges import (
    Multipart,
    multipart,
    parse_range,
    range_applies,
    render_content_range,
)
from entrepot.web.chunks import chunks_of
from entrepot.web.message import EMPTY, Header, Request, Response

Open = Callable[[int, int], Awaitable[Delivery]]
"""Opens `length` bytes of the content from `offset`: `await open_range(offset, length)`."""


async def respond(
    request: Request, digest: Digest, media_type: str, size: int, open_range: Open
) -> Response:
    """Return the response to a GET or HEAD of content of `size` bytes.

    Raise RangeInvalid if none of the requested bytes exist.
    """
    tag = etag(digest)
    headers: list[Header] = [
        ("Docker-Content-Digest", str(digest)),
        ("ETag", tag),
        ("Accept-Ranges", "bytes"),
    ]
    if not if_none_match(request.headers.get("if-none-match"), digest):
        return Response(304, headers)
    field = request.headers.get("range")
    wanted = None
    # Ranges are for GET alone (RFC 9110, 14.2).
    if (
        request.method == "GET"
        and field is not None
        and range_applies(request.headers.get("if-range"), tag)
    ):
        wanted = parse_range(field, size)
    if wanted is None:
        headers.append(("Content-Type", media_type))
        return deliver(200, headers, await open_range(0, size))
    if len(wanted) == 1:
        headers.append(("Content-Type", media_type))
        headers.append(("Content-Range", render_content_range(wanted[0], size)))
        return deliver(206, headers, await open_range(wanted[0].offset, wanted[0].length))
    first = await open_range(wanted[0].offset, wanted[0].length)
    if isinstance(first, Redirect):
        return deliver(206, headers, first)
    layout = multipart(wanted, size, media_type, secrets.token_hex(16))
    headers.append(("Content-Type", layout.content_type))
    return Response(206, headers, Stream(_parts(layout, first, open_range), layout.length))


def deliver(status: int, headers: list[Header], delivery: Delivery) -> Response:
    """Return the response that carries a delivery; for a redirect, the way to it.

    The client asks there for the same range again, so no range header goes with a redirect.
    """
    if isinstance(delivery, Redirect):
        kept = [(name, value) for name, value in headers if name != "Content-Range"]
        return Response(307, [*kept, ("Location", delivery.url)], EMPTY)
    return Response(status, headers, delivery)


async def _parts(layout: Multipart, first: Delivery, open_range: Open) -> AsyncIterator[bytes]:
    for number, (head, part) in enumerate(layout.parts):
        delivery = await open_range(part.offset, part.length) if number else first
        yield head
        async for chunk in chunks_of(delivery):
            yield chunk
    yield layout.tail
