"""Names of other registries, served through the cache: the reading half of the API.

Answers say how old a tag is (`Age`), why it may be stale (`Warning: 299`), and, where the client
asked with `ns`, for which registry this answer stands (`OCI-Namespace`). What an answer is, is said
here and never by the upstream: a browser must take nothing of it for a page of this server.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from entrepot.oci import media_types
from entrepot.oci.errors import (
    ContentInvalid,
    Denied,
    DigestInvalid,
    ManifestInvalid,
    RegistryError,
    SizeInvalid,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from entrepot.ports.delivery import Inline
from entrepot.ports.upstream_endpoint import ListPage
from entrepot.protocol import routes
from entrepot.protocol.warnings import render_warning
from entrepot.rules.sources import Mirrored
from entrepot.services.mirror import Mirror
from entrepot.web.content import deliver, respond
from entrepot.web.message import Header, Request, Response
from entrepot.web.v2 import errors
from entrepot.web.v2.blobs import OCTET_STREAM

Handler = Callable[[Mirror, Request, Mirrored, Any], Awaitable[Response]]

MAX_PAGE: Final = 8 << 20
"""Largest page of a list that is passed on, in bytes."""

_JSON: Final = "application/json"
_AT_ONCE: Final = 64 << 10
"""Bytes of JSON that are read without a thread: well under a millisecond's work."""

_NONSENSE: Final = (DigestInvalid, ManifestInvalid, SizeInvalid, ContentInvalid, Unsupported)
"""What an upstream is told to have sent; none of it is about what the client has sent."""


async def answer(
    mirror: Mirror, request: Request, source: Mirrored, route: routes.Route
) -> Response:
    """Answer a request for a mirrored name; refuse what would change anything."""
    handler = _HANDLERS.get(type(route))
    if handler is None or request.method not in ("GET", "HEAD"):
        refusal = Unsupported(
            f"{source.repository} is a mirror, which can only be pulled from; push to "
            f"{source.upstream} itself, or to a name that is hosted here"
        )
        return errors.render(refusal, [("Allow", "GET, HEAD")])
    try:
        return await handler(mirror, request, source, route)
    except Unauthorized as error:
        # It is our login that the upstream does not accept, not the client's.
        raise Denied(error.message, detail=error.detail) from None
    except _NONSENSE as error:
        # The fault is the upstream's, not the request's.
        return errors.render(error, status=HTTPStatus.BAD_GATEWAY)


async def get_manifest(
    mirror: Mirror, request: Request, source: Mirrored, route: routes.Manifest
) -> Response:
    """Answer GET and HEAD of a manifest with the bytes as they came."""
    found = await mirror.manifest(source, route.reference, head=request.method == "HEAD")
    manifest = found.descriptor
    response = await respond(
        request, manifest.digest, _shown(manifest.media_type), manifest.size, found.open
    )
    if found.age is not None:
        response.headers.append(("Age", str(found.age)))
    if found.warning:
        response.headers.append(("Warning", render_warning(found.warning)))
    return response


async def get_blob(
    mirror: Mirror, request: Request, source: Mirrored, route: routes.Blob
) -> Response:
    """Answer GET and HEAD of a blob, in whole or in part."""
    blob = await mirror.blob(source, route.digest, head=request.method == "HEAD")
    if blob.size is None:
        return deliver(307, [], await blob.open(0, 0))
    return await respond(request, blob.digest, OCTET_STREAM, blob.size, blob.open)


async def get_tags(
    mirror: Mirror, request: Request, source: Mirrored, route: routes.TagsList
) -> Response:
    """Answer with a page of the upstream's tags, or with those that are cached if it is away."""
    try:
        page = await mirror.page(source, "tags/list", _query(request))
        await _check(source, page)
    except RegistryError as error:
        tags = await mirror.known_tags(source, error)
        body = json.dumps({"name": str(source.name), "tags": list(tags)}).encode()
        headers = [("Content-Type", _JSON), ("Warning", render_warning(_ONLY_CACHED))]
        return Response(200, headers, Inline(body))
    return _page(request, page, _JSON)


async def get_referrers(
    mirror: Mirror, request: Request, source: Mirrored, route: routes.Referrers
) -> Response:
    """Answer with a page of the upstream's referrers; one without the API answers 404, and the
    client then looks under the subject's tag, which is mirrored as every tag is."""
    page = await mirror.page(source, f"referrers/{route.digest}", _query(request))
    await _check(source, page)
    return _page(request, page, media_types.OCI_INDEX)


_ONLY_CACHED: Final = "the registry cannot be asked; these are the tags in the cache"


def _shown(media_type: str) -> str:
    """Return what a manifest's type may be called; what is none is only bytes."""
    return media_type if media_types.is_manifest_kind(media_type) else OCTET_STREAM


async def _check(source: Mirrored, page: ListPage) -> None:
    """Raise Unavailable if a page is no JSON object of a size that makes sense."""
    content = page.content
    if len(content) > MAX_PAGE:
        raise Unavailable(
            f"{source.upstream} answers a list with more than {MAX_PAGE} bytes; ask for fewer "
            "entries at once with n="
        )
    if len(content) <= _AT_ONCE:
        right = _is_object(content)
    else:
        right = await asyncio.to_thread(_is_object, content)
    if not right:
        raise Unavailable(
            f"{source.upstream} answers a list with something else; check that it is a registry, "
            "and that no sign-in page stands before it"
        )


def _is_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False


def _page(request: Request, page: ListPage, media_type: str) -> Response:
    headers: list[Header] = [("Content-Type", media_type)]
    if page.filters_applied:
        headers.append(("OCI-Filters-Applied", page.filters_applied))
    if page.next_query:
        # Relative to what the client asked for, whatever stands in front of the name there.
        query = "&".join([page.next_query, *_namespaces(request)])
        headers.append(("Link", f'<{request.path}?{query}>; rel="next"'))
    return Response(200, headers, Inline(page.content))


def _query(request: Request) -> str:
    """Return the query for the upstream: without `ns`, which is meant for this server."""
    return "&".join(one for one in request.query.split("&") if not one.startswith(_NAMESPACE))


def _namespaces(request: Request) -> list[str]:
    return [one for one in request.query.split("&") if one.startswith(_NAMESPACE)]


_NAMESPACE: Final = "ns="

_HANDLERS: Final[Mapping[type[routes.Route], Handler]] = {
    routes.Manifest: get_manifest,
    routes.Blob: get_blob,
    routes.TagsList: get_tags,
    routes.Referrers: get_referrers,
}
