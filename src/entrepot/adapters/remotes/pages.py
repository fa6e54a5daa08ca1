"""Pages: lists that a registry gives in parts, each with a Link to the next.

Source: distribution-spec, "Listing Tags", "Listing Referrers"; RFC 8288 for the Link header.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from entrepot.adapters.remotes.endpoint import PULL, Answer, Endpoint
from entrepot.adapters.remotes.redirects import same_origin, target
from entrepot.oci.errors import TagInvalid, Unavailable
from entrepot.oci.reference import Tag
from entrepot.protocol.routes import tags_path

PAGE_ENTRIES: Final = 1000
"""Entries that are asked for at once: as many as ECR allows and Docker Hub gives at most."""

PAGE_BYTES: Final = 16 * 1024 * 1024
"""Most bytes of one page; some registries ignore `n` and send a hundred thousand tags."""

MOST_PAGES: Final = 10_000

_LINK: Final = re.compile(r'<([^<>]*)>((?:[^",<]|"(?:[^"\\]|\\.)*")*)')
_BARE_LINK: Final = re.compile(r"\s*([^\s;,<>]+)\s*(;[^<>]*)")
_PARAMETER: Final = re.compile(r';\s*([^\s;=",]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))')


def parse_next_link(field: str | None) -> str | None:
    """Return the target of the link with the relation `next`, as it stands there."""
    if not field:
        return None
    links = _LINK.findall(field)
    if not links and (bare := _BARE_LINK.fullmatch(field)):
        links = [bare.groups()]
    for link, parameters in links:
        for name, quoted, bare_text in _PARAMETER.findall(parameters):
            if name.lower() == "rel" and "next" in (quoted or bare_text).lower().split():
                return str(link).strip() or None
    return None


def next_page(answer: Answer) -> str | None:
    """Return the URL of the page that follows, None after the last.

    It is of the same origin. A registry behind a proxy that names itself wrongly is asked where
    it was asked before, if only the origin differs. Raise Unavailable for any other place.
    """
    link = parse_next_link(answer.headers.get("link"))
    if link is None:
        return None
    url = target(answer.url, link)
    if same_origin(url, answer.url):
        return url
    there, here = urlsplit(url), urlsplit(answer.url)
    if there.path != here.path:
        raise Unavailable(
            f"{here.netloc} says that its list goes on at {there.netloc}, which was not asked "
            "for; tell its operator that the Link header must stay on the same host"
        )
    return here._replace(query=there.query).geturl()


Ask = Callable[[str], Awaitable[Answer]]
"""Ask for one page by its URL."""


async def pages(ask: Ask, url: str) -> AsyncIterator[Answer]:
    """Yield a list's pages, the first from `url`. An answer that is no success ends the list.

    Raise Unavailable if it has no end.
    """
    seen: set[str] = set()
    following: str | None = url
    while following is not None:
        if following in seen or len(seen) >= MOST_PAGES:
            raise Unavailable(
                f"the list at {urlsplit(following).netloc} never ends: its Link header leads "
                "back to a page that was read; tell its operator"
            )
        seen.add(following)
        answer = await ask(following)
        yield answer
        following = next_page(answer) if answer.successful else None


def pages_of(
    endpoint: Endpoint,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    expect: Collection[int] = (),
) -> AsyncIterator[Answer]:
    """Yield the pages of a list of a repository."""

    async def ask(url: str) -> Answer:
        return await endpoint.ask(
            "GET", url, PULL, headers=headers, expect=expect, limit=PAGE_BYTES
        )

    return pages(ask, url)


def entries(answer: Answer, member: str) -> list[object]:
    """Return the list under `member` of a page; null and a missing one are empty.

    Raise Unavailable if the page is something else.
    """
    try:
        document = json.loads(answer.content)
        found = document.get(member) or []
        if isinstance(found, list):
            return found
    except (ValueError, AttributeError, RecursionError):
        pass
    raise Unavailable(
        f"{urlsplit(answer.url).netloc} answered with something that is no list of {member}; "
        "check that it is a registry, and that no proxy or login page stands before it"
    )


async def list_tags(endpoint: Endpoint) -> tuple[Tag, ...]:
    """Return all tags in lexical order. Raise NameUnknown."""
    path = tags_path(endpoint.name)
    found: set[Tag] = set()
    async for answer in pages_of(endpoint, f"{path}?n={PAGE_ENTRIES}", expect=(400,)):
        if answer.status == 400:  # some know no `n`, or only a smaller one
            break
        found.update(_tags(answer))
    else:
        return tuple(sorted(found))
    async for answer in pages_of(endpoint, path):
        found.update(_tags(answer))
    return tuple(sorted(found))


async def some_tags(endpoint: Endpoint) -> tuple[Tag, ...]:
    """Return the tags of the first page in lexical order. Raise NameUnknown."""
    answer = await endpoint.ask("GET", tags_path(endpoint.name), PULL, limit=PAGE_BYTES)
    return tuple(sorted(_tags(answer)))


def _tags(answer: Answer) -> list[Tag]:
    """Return a page's tags; what nobody could ask for is left out."""
    tags = []
    for entry in entries(answer, "tags"):
        try:
            tags.append(Tag.parse(str(entry)))
        except TagInvalid:
            continue
    return tags
