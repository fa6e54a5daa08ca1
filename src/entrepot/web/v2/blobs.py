"""`/v2/<name>/blobs/<digest>`: pull and delete blobs (end-2, end-10)."""

from typing import Final

from entrepot.ports.delivery import Delivery
from entrepot.protocol.routes import Blob
from entrepot.services.registry import Registry
from entrepot.web.content import respond
from entrepot.web.message import Request, Response

OCTET_STREAM: Final = "application/octet-stream"


async def get(registry: Registry, request: Request, route: Blob) -> Response:
    """Answer GET and HEAD, in whole or in part."""
    digest = route.digest
    # Who asks for a blob reads it; who only asks whether it is there is about to rely on it.
    look = registry.blobs.hold if request.method == "HEAD" else registry.blobs.size
    size = await look(route.name, digest)

    async def open_range(offset: int, length: int) -> Delivery:
        return await registry.blobs.open(digest, offset, length)

    return await respond(request, digest, OCTET_STREAM, size, open_range)


async def delete(registry: Registry, request: Request, route: Blob) -> Response:
    """Unlink the blob from the repository."""
    await registry.blobs.delete(request.actor, route.name, route.digest)
    return Response(202, [("Docker-Content-Digest", str(route.digest))])
