"""Reading small request bodies whole."""

from collections.abc import Callable

from entrepot.web.message import Request


async def read_body(request: Request, limit: int, too_large: Callable[[int], Exception]) -> bytes:
    """Return the body of at most `limit` bytes.

    Raise `too_large(limit)` as soon as more is announced or arrives, BodyIncomplete if the
    client leaves.
    """
    if (request.body.length or 0) > limit:
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    async for chunk in request.body.chunks():
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        parts.append(chunk)
    return b"".join(parts)
