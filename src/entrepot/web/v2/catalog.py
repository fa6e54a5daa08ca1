"""`/v2/_catalog`: the repositories of this registry (Docker's, kept by the distribution-spec's
implementations)."""

from entrepot.protocol.pagination import parse_page
from entrepot.protocol.routes import CATALOG_PATH, Catalog
from entrepot.services.registry import Registry
from entrepot.web.message import Request, Response
from entrepot.web.v2.pages import Paging, page_of, respond_with_page


async def get(registry: Registry, request: Request, route: Catalog, paging: Paging) -> Response:
    """List repositories in lexical order, a page at a time."""
    page = parse_page(request.parameters(), default=paging.default, cap=paging.cap)
    found = await registry.catalog.list(after=page.last, limit=page.limit + 1)
    shown, link = page_of(CATALOG_PATH, page, found)
    return respond_with_page({"repositories": shown}, link)
