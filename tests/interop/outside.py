"""The outside as programs on a machine without one find it: real names, TLS, and one way out.

The way out is an HTTP proxy that knows a few names, and leads from each to a mock registry. With
`https_proxy` and `SSL_CERT_FILE` in their environment, programs take these for the real ones, so
that what a guide says can be run as it stands there.
"""

import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from entrepot.testing import MockRegistry
from entrepot.testing.mock_origin import MockOrigin
from tests.certificates import Certificate, make_certificate

HUB: Final = ("registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com")
"""Docker Hub's registry, token server and storage."""

_BLOCK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Outside:
    """What is outside: Docker Hub, and a registry at an address of its own. `proxy` is the way out
    as `host:port`; `asked` are the names that somebody was led to."""

    hub: MockRegistry
    registry: MockRegistry
    certificate: Certificate
    proxy: str
    asked: list[str]

    def environment(self) -> Mapping[str, str]:
        """Return what leads programs outside."""
        return {
            "https_proxy": f"http://{self.proxy}",
            "no_proxy": "localhost,127.0.0.1",
            "SSL_CERT_FILE": str(self.certificate.certificate),
        }


@contextmanager
def outside(folder: Path) -> Iterator[Outside]:
    """Let there be an outside, until the end of the context."""
    folder.mkdir()
    certificate = make_certificate(folder, hosts=HUB)
    tls = certificate.server()
    with MockRegistry(tls=tls) as hub, MockRegistry(tls=tls) as registry:
        parts = hub.preset("docker.io")
        assert parts.tokens is not None
        assert parts.storage is not None
        named: dict[str, MockOrigin] = {}
        for name, origin in zip(HUB, (hub, parts.tokens.origin, parts.storage), strict=True):
            origin.url, named[name] = f"https://{name}", origin
        asked: list[str] = []
        with _way_out({name: origin.port for name, origin in named.items()}, asked) as proxy:
            yield Outside(hub, registry, certificate, proxy, asked)


@contextmanager
def _way_out(ports: Mapping[str, int], asked: list[str]) -> Iterator[str]:
    """Run the proxy: CONNECT to these names leads to ports of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            name, _, port = self.path.rpartition(":")
            if name not in ports or port != "443":
                self.send_error(502)
                return
            asked.append(name)
            with socket.create_connection(("127.0.0.1", ports[name])) as there:
                self.send_response(200)
                self.end_headers()
                _carry(self.connection, there)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _carry(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until one side has ended."""
    across = {one: other, other: one}
    while True:
        ready, _, _ = select.select([one, other], [], [])
        for source in ready:
            try:
                block = source.recv(_BLOCK)
                across[source].sendall(block)
            except OSError:
                return
            if not block:
                return
