"""Egress proxies: which one a URL goes through, from a setting or from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from entrepot.oci.errors import Unsupported

_KINDS: Final = ("http", "https", "socks5", "socks5h")
_ALIASES: Final = {"socks": "socks5h"}  # as Go's clients and curl's own users write it


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy taken apart, so that its credentials never stand in a URL or a message."""

    url: str
    name: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.url


def parse_proxy(text: str) -> Proxy:
    """Read a proxy's URL; without a scheme it is an http proxy. Raise Unsupported, without the
    credentials that may stand in it."""
    refused = Unsupported(
        "the proxy setting cannot be used; write http://host:port, https://, socks5:// or "
        "socks5h://, and percent-encode a name and password in it"
    )
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        kind, host, port = _ALIASES.get(url.scheme, url.scheme), url.hostname, url.port
    except ValueError:
        raise refused from None
    if kind not in _KINDS or not host:
        raise refused
    place = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(kind, 1080)
    address = f"{kind}://{place}:{port or default}"
    return Proxy(address, unquote(url.username or ""), unquote(url.password or ""))


def proxy_for(scheme: str, setting: str | None, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for URLs of a scheme (`http` or `https`), or None. Raise Unsupported.

    The environment's names are read in lower case first, then in upper case; `HTTP_PROXY` is
    not trusted where a web server runs us, as there a request's header could set it.
    """
    if setting is not None:
        return parse_proxy(setting) if setting else None
    for name in (f"{scheme}_proxy", "all_proxy"):
        upper = name.upper()
        text = environment.get(name)
        if text is None and not (upper == "HTTP_PROXY" and "REQUEST_METHOD" in environment):
            text = environment.get(upper)
        if text is not None:
            return parse_proxy(text) if text else None
    return None


def unproxied(environment: Mapping[str, str]) -> str:
    """Return the hosts that are asked directly, as `no_proxy` lists them."""
    return environment.get("no_proxy", environment.get("NO_PROXY", ""))
