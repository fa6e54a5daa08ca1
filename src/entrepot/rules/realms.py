"""Realms: where a registry's login may be sent, and where its answers may lead.

A registry names the server that gives tokens. Without a rule, whoever can forge one answer could
name a server of his own and be sent the password. The rule, for `REGISTRY` asking for a login at
`REALM`:

1. A realm of plain HTTP gets nothing from a registry of HTTPS.
2. What the user has allowed by name is allowed.
3. The same host, on any port, is allowed; so is one loopback name for another.
4. One is a subdomain of the other, or both have the same parent domain: the last two labels, or
   three under a country's `co.uk` kind, and never a domain below which strangers live side by
   side (SHARED).
5. A few registries are known to keep their tokens elsewhere (KNOWN).
"""

import ipaddress
import re
from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, urlsplit

KNOWN: Final = frozenset(
    {
        ("registry.redhat.io", "sso.redhat.com"),
        ("registry.suse.com", "scc.suse.com"),
        ("dp.apps.rancher.io", "scc.suse.com"),
        ("nvcr.io", "authn.nvidia.com"),
    }
)
"""(registry, realm) pairs of different domains that belong together."""

SHARED: Final = frozenset(
    {
        "amazonaws.com", "appspot.com", "azurecr.io", "azurewebsites.net", "cloudapp.azure.com",
        "cloudfront.net", "core.windows.net", "fly.dev", "github.io", "gitlab.io",
        "googleapis.com", "herokuapp.com", "netlify.app", "ngrok.io", "onrender.com", "pages.dev",
        "pkg.dev", "r2.dev", "run.app", "vercel.app", "workers.dev",
    }
)  # fmt: skip
"""Domains whose subdomains belong to people who have nothing to do with each other."""

METADATA: Final = frozenset({"100.100.100.200", "168.63.129.16", "fd00:ec2::254"})
"""Addresses of clouds' metadata services that are not link-local."""

_HOST: Final = re.compile(r"[a-z0-9._-]*|[0-9a-f.]*:[0-9a-f.:]*(?:%[a-z0-9._-]+)?", re.ASCII)
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)
_SECOND_LEVEL: Final = frozenset({"ac", "co", "com", "edu", "gov", "net", "ne", "or", "org"})
_PORTS: Final = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL (RFC 6454); an unknown scheme has port 0.

    Raise ValueError if the URL's host or port is malformed.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    port = parts.port if parts.port is not None else _PORTS.get(scheme, 0)
    return scheme, _host(parts), port


def may_send_login(registry: str, realm: str, allowed: Collection[str] = ()) -> bool:
    """Say whether a login for the registry at one URL may be sent to a realm, another URL.

    `allowed` are hosts or `host:port` that the user has named.
    """
    try:
        (scheme, host, _), (asked, server, port) = origin(registry), origin(realm)
    except ValueError:
        return False
    if asked not in _PORTS or not server or "@" in urlsplit(realm).netloc:
        return False
    if asked == "http" and scheme == "https":
        return False
    if server in allowed or f"{server}:{port}" in allowed:
        return True
    return (
        server == host
        or (is_loopback(host) and is_loopback(server))
        or (host, server) in KNOWN
        or _are_related(host, server)
    )


def may_lead_to(start: str, target: str) -> bool:
    """Say whether a redirect from one URL to another may be followed.

    Nothing leads from HTTPS to plain HTTP, nor where `may_reach` forbids it.
    """
    try:
        scheme, asked = origin(start)[0], origin(target)[0]
    except ValueError:
        return False
    return not (scheme == "https" and asked == "http") and may_reach(start, target)


def may_reach(start: str, target: str) -> bool:
    """Say whether a server may send us to another URL at all.

    One elsewhere may not point at this machine itself or its neighbourhood: loopback and
    link-local addresses, and where else metadata services are (METADATA).
    """
    try:
        (_, host, _), (asked, server, _) = origin(start), origin(target)
    except ValueError:
        return False
    if asked not in _PORTS or not server:
        return False
    return server == host or is_loopback(host) or not _is_near(server)


def is_loopback(host: str) -> bool:
    """Say whether a host name, without port, means this machine by its name or address."""
    bare = host.strip("[]").rstrip(".").lower()
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def _is_near(host: str) -> bool:
    if is_loopback(host):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # 127.1, 0x7f000001, 2130706433: libraries take these for addresses, and no name ends in
        # a number.
        return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None
    if str(address) in METADATA:
        return True
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_link_local or mapped.is_unspecified or mapped.is_loopback)


def _are_related(first: str, second: str) -> bool:
    if _is_address(first) or _is_address(second):
        return False
    parent = _parent(first)
    return bool(parent) and parent == _parent(second)


def _parent(host: str) -> str:
    """Return the domain that one owner has, as far as a name shows it; empty if none."""
    labels = host.split(".")
    if len(labels) < 2 or not all(labels):
        return ""
    count = 3 if len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL else 2
    if len(labels) < count:
        return ""
    for shared in SHARED:
        if host == shared:
            return ""
        if host.endswith(f".{shared}"):
            count = shared.count(".") + 2
    return ".".join(labels[-count:])


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".").lower()
    # `loc%61lhost` is decoded by those who connect, after we have judged it.
    if _HOST.fullmatch(host) is None:
        raise ValueError("no host is called like this")
    return host
