"""`/v2/<name>/referrers/<digest>`: what refers to a manifest (end-12)."""

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid
from entrepot.oci.media_types import OCI_INDEX
from entrepot.ports.delivery import Inline
from entrepot.ports.metadata_store import ManifestRecord
from entrepot.protocol.pagination import parse_page, render_next_link
from entrepot.protocol.referrers import parse_artifact_type, render_referrers
from entrepot.protocol.routes import Referrers, referrers_path
from entrepot.services.registry import Registry
from entrepot.web.message import Header, Request, Response
from entrepot.web.v2.pages import Paging


async def get(registry: Registry, request: Request, route: Referrers, paging: Paging) -> Response:
    """List referrers as an image index, a page at a time, filtered by artifact type if asked."""
    parameters = request.parameters()
    page = parse_page(parameters, default=paging.default, cap=paging.cap)
    artifact_type = parse_artifact_type(parameters)
    found = await registry.referrers.list(
        route.name,
        route.digest,
        artifact_type=artifact_type,
        after=_after(page.last),
        limit=page.limit,
    )
    shown = found.records
    headers: list[Header] = [("Content-Type", OCI_INDEX)]
    if artifact_type is not None:
        headers.append(("OCI-Filters-Applied", "artifactType"))
    if found.more and shown:
        kept = [] if artifact_type is None else [("artifactType", artifact_type)]
        path = referrers_path(route.name, route.digest)
        headers.append(("Link", render_next_link(path, page, str(shown[-1].digest), kept)))
    return Response(200, headers, Inline(render_referrers(map(_descriptor, shown))))


def _after(last: str | None) -> Digest | None:
    """Read the place to go on from; one we never gave out starts from the beginning."""
    try:
        return Digest.parse(last) if last else None
    except DigestInvalid:
        return None


def _descriptor(record: ManifestRecord) -> Descriptor:
    return Descriptor(
        media_type=record.media_type,
        digest=record.digest,
        size=record.size,
        annotations=record.annotations,
        artifact_type=record.artifact_type,
    )
