"""Redirects: where a request goes next, and what it must not take along.

A login never follows to another origin (scheme, host, port), nor do cookies. Storage behind a
registry refuses foreign logins anyway; whoever else is named there must not get ours.
Source: RFC 9110, section 15.4; distribution-spec, "Redirects".
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Final
from urllib.parse import urljoin, urlsplit

from entrepot.adapters.remotes.exchange import Request, Response
from entrepot.adapters.remotes.exchange_log import shown_url
from entrepot.adapters.remotes.exchanges import Conversation, without
from entrepot.oci.errors import Denied, Unavailable
from entrepot.rules.realms import kept_secure, may_lead_to, origin

MOST: Final = 10
"""How many redirects are followed."""

STATUSES: Final = frozenset({301, 302, 303, 307, 308})

_READS: Final = frozenset({"GET", "HEAD"})
_KEEP_METHOD: Final = frozenset({307, 308})
_OURS: Final = ("authorization", "cookie", "proxy-authorization")
_OF_BODIES: Final = ("content-length", "content-type", "content-range", "content-encoding")


async def follow(
    conversation: Conversation, request: Request, stop: Collection[int] = ()
) -> Response:
    """Send a request and follow redirects, up to a response that is none or whose status is in
    `stop`.

    Raise Unavailable for a loop or too many redirects, Denied for one that must not be followed.
    """
    seen = {(request.method, request.url)}
    while True:
        response = await conversation.send(request)
        location = response.headers.get("location")
        if response.status not in STATUSES or response.status in stop or not location:
            return response
        status, start = response.status, response.url
        await conversation.settle(response)
        request = redirected(request, status, target(start, location))
        if (request.method, request.url) in seen:
            raise Unavailable(
                f"{_place(start)} redirects in a circle, last to {shown_url(request.url)}; "
                "whoever runs it must mend that"
            )
        if len(seen) > MOST:
            raise Unavailable(
                f"{_place(start)} is the end of {MOST} redirects and names yet another; "
                "whoever runs the registry must mend that"
            )
        seen.add((request.method, request.url))


def target(start: str, location: str) -> str:
    """Return the absolute URL that a Location means, given the URL that was asked.

    A registry that names itself with `http://` is asked by HTTPS as before. An account in the URL
    and a fragment are left out. Raise Denied if it is no URL of HTTP, or must not be followed.
    """
    try:
        found = urlsplit(kept_secure(start, urljoin(start, location)))
        url = found._replace(netloc=found.netloc.rpartition("@")[2], fragment="").geturl()
        allowed = may_lead_to(start, url)
    except ValueError:
        raise _forbidden(start, "something that is no URL") from None
    if not allowed:
        raise _forbidden(start, shown_url(url))
    return url


def redirected(request: Request, status: int, url: str) -> Request:
    """Return the request that follows a redirect. Raise Unavailable where the method must not
    change, and would."""
    headers = dict(request.headers)
    if not same_origin(request.url, url):
        headers = without(headers, *_OURS)
    if request.method in _READS or status in _KEEP_METHOD:
        return replace(request, url=url, headers=headers)
    if status == 303:
        return Request("GET", url, without(headers, *_OF_BODIES))
    raise Unavailable(
        f"{_place(request.url)} redirects {request.method} with status {status}, which does not "
        "say whether it may be repeated elsewhere; the registry must answer 307 or 308"
    )


def same_origin(first: str, second: str) -> bool:
    """Say whether two URLs have scheme, host and port in common."""
    return origin(first) == origin(second)


def _forbidden(start: str, url: str) -> Denied:
    return Denied(
        f"{_place(start)} redirects to {url}, which is not followed: it would leave HTTPS, or lead "
        "to this machine itself; ask whoever runs the registry"
    )


def _place(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
