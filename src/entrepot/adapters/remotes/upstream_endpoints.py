"""Endpoints put together from an upstream's settings: transport, login, session.

Composition for `bootstrap`. Endpoints whose connections are made alike share a transport.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from entrepot.adapters.remotes.exchange_log import ExchangeLog
from entrepot.adapters.remotes.manifests import MAX_SIZE
from entrepot.adapters.remotes.session import Session
from entrepot.adapters.remotes.transport import CurlTransport
from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.adapters.remotes.upstream_advice import advised
from entrepot.adapters.remotes.upstream_endpoint import ONCE, HttpEndpoint
from entrepot.adapters.remotes.upstream_logins import login_of
from entrepot.config.upstreams import UpstreamSettings
from entrepot.oci.address import registry_host
from entrepot.oci.errors import NameInvalid, Unsupported
from entrepot.ports.upstream_endpoint import Exchanged
from entrepot.rules.realms import is_loopback
from entrepot.rules.retries import RetryPolicy

TOKENS: Final = RetryPolicy(retries=1, first=0.2, most=0.2, patience=1.0)
"""How often a token is asked for: without one everything would have to be asked again."""

_PORTS: Final = {"http": 80, "https": 443}


class Transports:
    """Transports by their settings, each closed with the last endpoint that uses it.

    `environ` tells proxies and trusted authorities.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._open: dict[TransportSettings, tuple[CurlTransport, int]] = {}

    def take(self, settings: TransportSettings) -> CurlTransport:
        """Return a transport, to be given back."""
        transport, users = self._open.get(settings) or (CurlTransport(settings, self._environ), 0)
        self._open[settings] = (transport, users + 1)
        return transport

    async def give_back(self, settings: TransportSettings) -> None:
        """Close a transport that nobody uses any more."""
        transport, users = self._open.pop(settings)
        if users > 1:
            self._open[settings] = (transport, users - 1)
        else:
            await transport.close()


def open_endpoint(
    url: str,
    settings: UpstreamSettings,
    *,
    environ: Mapping[str, str],
    on_exchange: Callable[[Exchanged], None] | None = None,
    on_warning: Callable[[str], None] = lambda _text: None,
    transports: Transports | None = None,
    max_manifest: int = MAX_SIZE,
    listed: bool = True,
    debug: bool = False,
) -> HttpEndpoint:
    """Open the endpoint at a URL: `https://host[:port][/path]`, the path being what stands in
    front of `/v2/`. Behind `#` there may be an address to connect to instead of the host's; without
    a scheme (`//host`) a loopback host is asked whether it has TLS.

    `on_exchange` is told of every exchange, `on_warning` gets texts for people once each. With
    `transports` connections are shared. One that the operator has not `listed` may lead to
    addresses on the internet only. Nothing is asked now. Raise Unsupported for a URL or
    settings that cannot be used.
    """
    base, host, connect_to = _taken_apart(url, insecure=settings.insecure)
    login = login_of(settings, environ)
    shared = transports or Transports(environ)
    connections = _connections(settings, connect_to, listed=listed)
    session = Session(
        host,
        shared.take(connections),
        login.store,
        base_url=base,
        headers=login.headers,
        tls_verify=not settings.insecure,
        allowed_realms=settings.allowed_realms,
        remember_logins=not login.changes,
        retry_policy=ONCE,
        token_retry_policy=TOKENS,
        on_warning=lambda text: on_warning(advised(text)),
        log=ExchangeLog(debug, on_exchange),
    )
    close: Callable[[], Awaitable[None]] = partial(shared.give_back, connections)
    return HttpEndpoint(
        session,
        login.store,
        url=url,
        follow_redirects=settings.follow_redirects,
        max_manifest=max_manifest,
        on_close=close,
    )


def _connections(
    settings: UpstreamSettings, connect_to: tuple[str, str] | None, *, listed: bool
) -> TransportSettings:
    return TransportSettings(
        verify=not settings.insecure,
        ca_file=settings.ca_file,
        client_certificate=settings.client_certificate,
        client_key=settings.client_key,
        proxy=settings.proxy,
        proxy_all=True,
        connect_timeout=settings.connect_timeout,
        stall_timeout=settings.stall_timeout,
        only_global=not listed,
        connect_to=connect_to,
    )


def _taken_apart(url: str, *, insecure: bool) -> tuple[str, str, tuple[str, str] | None]:
    """Return the base URL, what the registry is called, and what to connect to instead."""
    refused = Unsupported(
        "an upstream's endpoint must be a URL such as https://host:port, or "
        "https://host/path where a path stands in front of /v2/"
    )
    try:
        parts = urlsplit(url)
        name, port, place = parts.hostname, parts.port, parts.netloc.rpartition("@")[2]
        host = place if "[" in place else registry_host(place)
    except (ValueError, NameInvalid):
        raise refused from None
    if parts.scheme not in ("", *_PORTS) or not name or parts.query or "@" in parts.netloc:
        raise refused
    if parts.scheme == "http" and not insecure and not is_loopback(name):
        raise Unsupported(
            f"{host} is not asked by plain HTTP, where whoever listens can read along and change "
            "what comes; write https://, or set insecure = true for this upstream"
        )
    base = parts._replace(path=parts.path.rstrip("/"), fragment="").geturl()
    if not parts.fragment:
        return base, host, None
    bracketed = f"[{name}]" if ":" in name else name
    return base, host, (f"{bracketed}:{port or _PORTS[parts.scheme or 'https']}", parts.fragment)
