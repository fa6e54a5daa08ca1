"""A server with a certificate of a certificate authority that nobody else knows."""

import ssl
from collections.abc import Mapping
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

from tests.interop.sandbox import Sandbox
from tests.server import RunningServer

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")


class TLSServer(RunningServer):
    """A running `entrepot serve` that takes TLS only; `authority` is what clients must trust."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        self.authority = certificates / "authority" / "ca.crt"
        self._context = ssl.create_default_context(cafile=str(self.authority))
        settings: Mapping[str, str] = {
            "server.tls_certificate": str(certificates / "server.crt"),
            "server.tls_key": str(certificates / "server.key"),
        }
        super().__init__(folder, workers=2, settings=settings)

    def _ready(self) -> bool:
        connection = HTTPSConnection(self.host, timeout=5, context=self._context)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


def make_certificates(sandbox: Sandbox) -> Path:
    """Make an authority, and by it a certificate for loopback, with openssl.

    Return a folder with `server.crt` and `server.key`, and `ca.crt` alone in `authority`.
    """
    (sandbox.folder / "authority").mkdir()
    sandbox.run(
        "openssl", "req", "-x509", *_NEW_KEY, "-subj", "/CN=Entrepot's tests",
        "-addext", "keyUsage=critical,keyCertSign",
        "-keyout", "ca.key", "-out", "authority/ca.crt",
    )  # fmt: skip
    sandbox.run(
        "openssl", "req", "-x509", *_NEW_KEY, "-subj", "/CN=localhost",
        "-addext", "basicConstraints=critical,CA:FALSE",
        "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
        "-CA", "authority/ca.crt", "-CAkey", "ca.key",
        "-keyout", "server.key", "-out", "server.crt",
    )  # fmt: skip
    return sandbox.folder
