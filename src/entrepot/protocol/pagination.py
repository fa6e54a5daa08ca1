"""Pages of a list: the `n` and `last` parameters and the link to what follows.

Source: distribution-spec, "Listing Tags"; RFC 8288 for the Link header.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from entrepot.oci.errors import PaginationNumberInvalid

_NUMBER: Final = re.compile(r"[0-9]{1,1000}", re.ASCII)
_MAX_LAST: Final = 256  # characters; one more than any name, tag or digest has


@dataclass(frozen=True, slots=True)
class Page:
    """At most `limit` entries behind `last` (from the beginning if None)."""

    limit: int
    last: str | None = None


def parse_page(parameters: Iterable[tuple[str, str]], *, default: int, cap: int) -> Page:
    """Read `n` and `last` from decoded query parameters; of repeated ones the first counts.

    Without `n` the limit is `default`, above `cap` it is `cap`, and 0 means an empty page
    without a link. Raise PaginationNumberInvalid if `n` is not a whole number from 0.
    `last` is any text, and need not exist.
    """
    first: dict[str, str] = {}
    for key, value in parameters:
        first.setdefault(key, value)
    last = _comparable(first.get("last", ""))
    number = first.get("n")
    if number is None:
        return Page(default, last)
    if _NUMBER.fullmatch(number) is None:
        shown = number[:80]
        raise PaginationNumberInvalid(
            f"n={shown!r} is not a number of entries; use a whole number from 0",
            detail={"n": shown},
        )
    return Page(min(int(number), cap), last)


def _comparable(last: str) -> str | None:
    """Return a text with the same entries behind it that databases can compare.

    No entry holds a NUL or has more than 255 characters, so cutting at either moves `last`
    past none of them.
    """
    return last.partition("\0")[0][:_MAX_LAST] or None


def render_next_link(
    path: str, page: Page, last: str, parameters: Iterable[tuple[str, str]] = ()
) -> str:
    """Return the Link header for the page behind `last`, the last entry shown.

    `path` is one of `routes`' paths; `parameters` are others to be kept (a filter, `ns`).
    """
    query = urlencode([("n", str(page.limit)), ("last", last), *parameters], quote_via=quote)
    return f'<{path}?{query}>; rel="next"'
