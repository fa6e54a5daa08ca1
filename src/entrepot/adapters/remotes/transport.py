"""The HTTP transport on libcurl: connections, TLS, proxies, back-pressure. It knows no registries.

`transport_settings` is what may be chosen, `transport_options` how libcurl is told,
`transport_loop` how it runs on asyncio, `transport_transfer` one request and its response, and
`transport_errors` what its failures mean. Why libcurl: docs/decisions/0003-http-client.md.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import pycurl

from entrepot.adapters.remotes.exchange import Request, Response
from entrepot.adapters.remotes.transport_errors import Peer, closed, not_global
from entrepot.adapters.remotes.transport_gate import Gate, is_unproxied
from entrepot.adapters.remotes.transport_lane import Lanes
from entrepot.adapters.remotes.transport_loop import TransferLoop
from entrepot.adapters.remotes.transport_options import (
    may_share,
    needs_lane,
    set_connection,
    set_proxy,
    set_request,
    set_trust,
)
from entrepot.adapters.remotes.transport_proxy import Proxy, proxy_for, unproxied
from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.adapters.remotes.transport_transfer import Transfer, warm_allocator
from entrepot.adapters.remotes.transport_trust import Trust, system_trust, trust_for
from entrepot.oci.errors import Unsupported
from entrepot.rules.realms import leads_outside

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class CurlTransport:
    """A `Transport` for the event loop it is first used on, from any number of its tasks.

    `environment` tells proxies and trusted authorities; it is the process' own unless given.
    """

    def __init__(
        self,
        settings: TransportSettings | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings or TransportSettings()
        self._environment = os.environ if environment is None else environment
        self._system = system_trust(self._environment)
        all_by_proxy = self._settings.proxy_all and self._settings.proxy
        self._unproxied = "" if all_by_proxy else unproxied(self._environment)
        self._trust: dict[str, Trust] = {}
        self._proxies: dict[str, Proxy | None] = {}
        self._transfers: TransferLoop | None = None
        self._lanes = Lanes(self._settings.connections, self._settings.stall_timeout)
        self._active: set[Transfer] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[Response]:
        """Send a request; see `Transport.send`. Raise Unsupported for what cannot be sent,
        CertificateRefused for certificate files that cannot be used, and what a streamed body
        raises."""
        origin = _origin(request.url)
        easy, peer, gate = await self._prepare(request, *origin)
        shared = self._loop
        lane = self._lanes.take(origin) if needs_lane(request) else None
        transfer = Transfer(request, easy, peer, lane or shared, gate)
        self._active.add(transfer)
        try:
            self._keep_watch()
            await transfer.start()
            await transfer.head()
            yield transfer
            await transfer.linger()
        finally:
            self._active.discard(transfer)
            await transfer.stop()
            if lane is not None:
                self._lanes.give_back(origin, lane)

    async def close(self) -> None:
        """Close all connections; transfers that are under way fail."""
        self._closed = True
        for transfer in list(self._active):
            transfer.fail(closed(transfer.peer))
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._transfers is not None:
            self._transfers.close()
            self._transfers = None
        self._lanes.close()

    @property
    def _loop(self) -> TransferLoop:
        if self._closed:
            raise RuntimeError("the transport is closed")
        if self._transfers is None:
            warm_allocator()
            running = asyncio.get_running_loop()
            self._transfers = TransferLoop(running, self._settings.connections)
        return self._transfers

    async def _prepare(
        self, request: Request, scheme: str, host: str
    ) -> tuple[Any, Peer, Gate | None]:
        """Return a handle with all options set, whom it asks, and the gate that it must pass."""
        if scheme not in self._proxies:
            proxy = proxy_for(scheme, self._settings.proxy, self._environment)
            self._proxies[scheme] = proxy
        proxy, directly, gate = self._proxies[scheme], self._unproxied, None
        if self._settings.only_global:
            proxy, directly = self._proxy_outside(request.url, host, proxy), ""
            gate = None if proxy else Gate()
        if scheme == "https" or (proxy and proxy.url.startswith("https:")):
            trust = self._trust.get(host)
            if trust is None:
                trust = await asyncio.to_thread(trust_for, host, self._settings, self._system)
                self._trust[host] = trust
        else:
            trust = Trust()
        easy = pycurl.Curl()
        try:
            set_connection(easy, self._settings)
            set_trust(easy, trust, self._settings.verify)
            set_proxy(easy, proxy, directly)
            set_request(easy, request, self._settings.http2 and may_share(request))
        except BaseException:
            easy.close()
            raise
        return easy, Peer(host, str(proxy) if proxy else ""), gate

    def _proxy_outside(self, url: str, place: str, proxy: Proxy | None) -> Proxy | None:
        """Return the proxy for a URL that must lead to the internet, None if its address is
        judged here. Raise Denied for what shows that it does not."""
        if proxy is None or is_unproxied(urlsplit(url).hostname or "", self._unproxied):
            return None
        if not leads_outside(url):
            raise not_global(Peer(place, str(proxy)))
        return proxy

    def _keep_watch(self) -> None:
        if self._watch is None and self._active and not self._closed:
            pause = min(5.0, self._settings.stall_timeout / 4, self._settings.response_timeout / 4)
            self._watch = asyncio.get_running_loop().call_later(pause, self._look)

    def _look(self) -> None:
        self._watch = None
        for transfer in list(self._active):
            transfer.watch(self._settings.stall_timeout, self._settings.response_timeout)
        self._keep_watch()


def _origin(url: str) -> tuple[str, str]:
    """Return a URL's scheme and `host[:port]`, the port left out where it is the scheme's own."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in _DEFAULT_PORTS or not host:
        raise Unsupported(
            "only http:// and https:// URLs with a host can be asked; check the address, "
            "or what the server redirected to"
        )
    place = f"[{host}]" if ":" in host else host
    if port is None or port == _DEFAULT_PORTS[scheme]:
        return scheme, place
    return scheme, f"{place}:{port}"
