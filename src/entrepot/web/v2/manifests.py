"""`/v2/<name>/manifests/<reference>`: pull, push and delete manifests (end-3, end-7, end-9)."""

from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestInvalid
from entrepot.ports.delivery import Delivery
from entrepot.protocol.routes import Manifest, manifest_path
from entrepot.protocol.tag_parameters import parse_tags
from entrepot.services.manifests import too_large
from entrepot.services.registry import Registry
from entrepot.web.bodies import read_body
from entrepot.web.content import respond
from entrepot.web.message import Header, Request, Response


async def get(registry: Registry, request: Request, route: Manifest) -> Response:
    """Answer GET and HEAD with the manifest's own bytes, whatever `Accept` says: converting
    would change the digest."""
    record = await registry.manifests.find(route.name, route.reference)

    async def open_range(offset: int, length: int) -> Delivery:
        return await registry.manifests.open(record, offset, length)

    return await respond(request, record.digest, record.media_type, record.size, open_range)


async def put(registry: Registry, request: Request, route: Manifest) -> Response:
    """Store a manifest under its digest, and under the tag or tags named."""
    tags = parse_tags(request.parameters())
    digest = None
    if isinstance(route.reference, Digest):
        digest = route.reference
    elif tags:
        raise ManifestInvalid(
            "tag parameters go with a push by digest; push to manifests/<digest>?tag=… instead"
        )
    else:
        tags = (route.reference,)
    content = await read_body(request, registry.manifests.max_size, too_large)
    record = await registry.manifests.push(
        request.actor,
        route.name,
        content,
        request.headers.get("content-type"),
        digest=digest,
        tags=tags,
    )
    headers: list[Header] = [
        ("Location", manifest_path(route.name, record.digest)),
        ("Docker-Content-Digest", str(record.digest)),
    ]
    if record.subject is not None:
        headers.append(("OCI-Subject", str(record.subject)))
    headers += [("OCI-Tag", tag) for tag in tags if digest is not None]
    return Response(201, headers)


async def delete(registry: Registry, request: Request, route: Manifest) -> Response:
    """Delete a tag, or a manifest with every tag that points to it."""
    if isinstance(route.reference, Digest):
        await registry.manifests.delete(request.actor, route.name, route.reference)
    else:
        await registry.tags.delete(request.actor, route.name, route.reference)
    return Response(202)
