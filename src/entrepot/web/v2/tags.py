"""`/v2/<name>/tags/list`: the tags of a repository (end-8)."""

from entrepot.protocol.pagination import parse_page
from entrepot.protocol.routes import TagsList, tags_path
from entrepot.services.registry import Registry
from entrepot.web.message import Request, Response
from entrepot.web.v2.pages import Paging, page_of, respond_with_page


async def get(registry: Registry, request: Request, route: TagsList, paging: Paging) -> Response:
    """List tags in lexical order, a page at a time."""
    page = parse_page(request.parameters(), default=paging.default, cap=paging.cap)
    found = await registry.tags.list(route.name, after=page.last, limit=page.limit + 1)
    shown, link = page_of(tags_path(route.name), page, found)
    return respond_with_page({"name": route.name, "tags": shown}, link)
