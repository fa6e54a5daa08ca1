"""Pages of a list, as tags and catalog show them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from entrepot.ports.delivery import Inline
from entrepot.protocol.pagination import Page, render_next_link
from entrepot.web.message import Header, Response


@dataclass(frozen=True, slots=True)
class Paging:
    """Entries on a page when the client names no number, and the most it may name."""

    default: int
    cap: int


def page_of(path: str, page: Page, found: Sequence[str]) -> tuple[list[str], str | None]:
    """Return what to show of `found`, which holds one entry more than the page if there are
    more, and the Link to what follows, None on the last page."""
    shown = list(found[: page.limit])
    if len(found) <= page.limit or not shown:
        return shown, None
    return shown, render_next_link(path, page, shown[-1])


def respond_with_page(document: dict[str, object], link: str | None) -> Response:
    """Return a list as JSON, with its Link header if another page follows."""
    headers: list[Header] = [("Content-Type", "application/json")]
    if link is not None:
        headers.append(("Link", link))
    return Response(200, headers, Inline(json.dumps(document).encode()))
