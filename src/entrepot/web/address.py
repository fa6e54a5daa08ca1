"""The address that clients reach this server at: of links, realms and ready-made configurations.

What a request says of it is checked by a strict grammar and alters nothing but such texts. What
proxies in front add (`X-Forwarded-Proto`) counts only from peers that are trusted; a peer on a UNIX
socket has no address and counts as 127.0.0.1. `X-Forwarded-Host` is never read: a proxy in front
passes `Host` on, or `proxy.external_url` is set.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from entrepot.oci.errors import NameInvalid
from entrepot.web.message import Request

Network = IPv4Network | IPv6Network

MAX_HOST: Final = 255
"""Longest host in characters, the port included."""

# As RFC 3986, section 3.2.2, without percent-encoding, and without what only other schemes need;
# `_` is no letter of host names, but of containers' names.
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST: Final = re.compile(
    rf"({_LABEL}(?:\.{_LABEL})*\.?|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?", re.ASCII | re.IGNORECASE
)
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """A scheme and `host[:port]`; as text, the URL without a path."""

    scheme: str
    host: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return networks as the settings have them, e.g. `10.0.0.0/8`."""
    return tuple(ip_network(text) for text in texts)


def host_of(request: Request) -> str:
    """Return the host a request names, in lower case; empty if it names none, as HTTP/1.0 may.

    Raise NameInvalid if it is malformed.
    """
    text = request.headers.get("host")
    return _checked(text) if text else ""


def address_of(request: Request, external_url: str, trusted: Sequence[Network]) -> Address:
    """Return the address: the one that is configured, else as the request says.

    Raise NameInvalid if the request's host is needed, and missing or malformed.
    """
    if external_url:
        return _external(external_url)
    host = host_of(request)
    if not host:
        raise NameInvalid("the request names no host; send the Host header")
    return Address(scheme_of(request, trusted), host)


def scheme_of(request: Request, trusted: Sequence[Network]) -> str:
    """Return `http` or `https`: how the client came, as far as who says so is trusted."""
    said = request.headers.get("x-forwarded-proto")
    if said is not None and is_trusted(request.client, trusted):
        first = said.partition(",")[0].strip().lower()
        if first in ("http", "https"):
            return first
    return request.scheme


def is_trusted(client: str, trusted: Sequence[Network]) -> bool:
    """Say whether a peer is one of the proxies in front."""
    if not trusted:
        return False
    peer = _peer(client)
    return peer is not None and any(peer in network for network in trusted)


@lru_cache(maxsize=256)
def _external(url: str) -> Address:
    parts = urlsplit(url)
    return Address(parts.scheme, parts.netloc.lower())


def _checked(text: str) -> str:
    if len(text) <= MAX_HOST:
        found = _HOST.fullmatch(text)
        if found and int(found[2] or 0) <= _MAX_PORT and _is_literal(found[1]):
            return text.lower()
    raise NameInvalid(
        f"{text[:MAX_HOST]!r} is no host; send host or host:port as Host",
        detail={"host": text[:MAX_HOST]},
    )


def _is_literal(host: str) -> bool:
    """Say whether what is in brackets is an IPv6 address, and true for any other host."""
    if not host.startswith("["):
        return True
    try:
        IPv6Address(host[1:-1])
    except ValueError:
        return False
    return True


@lru_cache(maxsize=4096)
def _peer(client: str) -> IPv4Address | IPv6Address | None:
    try:
        peer = ip_address(client or "127.0.0.1")
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d.
    return peer.ipv4_mapped or peer if isinstance(peer, IPv6Address) else peer
