"""Realms: where a registry's login may be sent, and where its answers may lead.

Those who know a name only (of a server, a registry, a host) know nothing of its address: that is
judged by `is_global` when a connection is made.

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

METADATA_NAMES: Final = frozenset(
    {"instance-data", "instance-data.ec2.internal", "metadata", "metadata.goog"}
    | {"metadata.google.internal", "metadata.azure.internal", "metadata.tencentyun.com"}
)
"""What these services are called."""

INNER: Final = ("internal", "local", "localhost", "home.arpa")
"""Domains that mean something else in each network (RFC 6762, RFC 8375, and ICANN's `internal`)."""

# What `ipaddress` takes for global, or not, by its version: NAT64's local prefix, SRv6's,
# documentation's, and addresses of IPv4 in a form nobody uses any more.
_NOT_GLOBAL: Final = tuple(
    map(ipaddress.ip_network, ("64:ff9b:1::/48", "5f00::/16", "3fff::/20", "::/96"))
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

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


def may_ask(registry: str, realm: str, allowed: Collection[str] = ()) -> bool:
    """Say whether a realm may be asked for a token at all, without a login, too.

    It may be where `may_lead_to` allows, but not at an address inside of some network unless the
    registry is at one, or has a name that only such a network knows; or the user has named it.
    """
    if not may_lead_to(registry, realm):
        return False
    (_, host, _), (_, server, port) = origin(registry), origin(realm)
    if not _is_address(server) or is_global(server):
        return True
    if server in allowed or f"{server}:{port}" in allowed:
        return True
    return server == host or not _may_be_global(host)


def kept_secure(start: str, target: str) -> str:
    """Return the URL to ask where one leads to another: behind a proxy that ends TLS many servers
    name themselves with `http://`, and are asked by HTTPS as before. Raise ValueError."""
    begun, found = urlsplit(start), urlsplit(target)
    if (begun.scheme, found.scheme) != ("https", "http") or found.hostname != begun.hostname:
        return target
    if found.port not in (None, _PORTS["http"], begun.port):
        return target
    return found._replace(scheme="https", netloc=begun.netloc).geturl()


def may_lead_to(start: str, target: str) -> bool:
    """Say whether a redirect from one URL to another may be followed.

    Nothing leads from HTTPS to plain HTTP. A server elsewhere may not point at this machine itself
    or its neighbourhood: loopback and link-local addresses, and where else metadata services are
    (METADATA).
    """
    try:
        (scheme, host, _), (asked, server, _) = origin(start), origin(target)
    except ValueError:
        return False
    if asked not in _PORTS or not server or (scheme, asked) == ("https", "http"):
        return False
    return server == host or is_loopback(host) or not _is_near(server)


def leads_outside(url: str) -> bool:
    """Say whether a URL may lead to the internet, as far as its host shows: a global address, or
    a name of two labels or more that is not known to be some network's own (INNER)."""
    try:
        scheme, host, _ = origin(url)
    except ValueError:
        return False
    return scheme in _PORTS and _may_be_global(host)


def is_global(address: str) -> bool:
    """Say whether an IP address is one on the internet, which no private network, machine or
    cloud's metadata service has. Of an address that carries one of IPv4, that is judged."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return False
        carried = _carried(found)
        if carried is not None:
            return is_global(str(carried))
        if found.is_site_local:
            return False
    if str(found) in METADATA or any(found in network for network in _NOT_GLOBAL):
        return False
    return found.is_global and not (found.is_multicast or found.is_reserved)


def is_loopback(host: str) -> bool:
    """Say whether a host name, without port, means this machine by its name or address."""
    bare = host.strip("[]").rstrip(".").lower()
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def _may_be_global(host: str) -> bool:
    if _is_near(host):
        return False
    if _is_address(host):
        address = ipaddress.ip_address(host)
        # Nobody but who means something else writes one of IPv4 like that.
        carries = isinstance(address, ipaddress.IPv6Address) and _carried(address) is not None
        return not carries and is_global(host)
    labels = host.split(".")
    inner = any(host.endswith(f".{domain}") for domain in INNER)
    return len(labels) > 1 and all(labels) and ":" not in host and not inner


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the address of IPv4 that one of IPv6 leads to, if it is of such a kind."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_near(host: str) -> bool:
    if is_loopback(host) or host in METADATA_NAMES:
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
