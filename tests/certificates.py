"""Certificates for tests, made by openssl: one authority that signs itself, for 127.0.0.1 and for
names."""

import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.programs import require_program


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate, its key, and the context of a client that trusts it."""

    certificate: Path
    key: Path

    def client(self, *protocols: str) -> ssl.SSLContext:
        """Return a client's context that offers these protocols (ALPN)."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.set_alpn_protocols(list(protocols) or ["http/1.1"])
        return context

    def server(self) -> ssl.SSLContext:
        """Return the context of a server that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def settings(self) -> dict[str, str]:
        """Return the settings that serve it."""
        return {
            "server.tls_certificate": str(self.certificate),
            "server.tls_key": str(self.key),
        }


def make_certificate(
    folder: Path, name: str = "server", *, hosts: Sequence[str] = ()
) -> Certificate:
    """Make a certificate that is valid for a day, also for these hosts."""
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    alternatives = ",".join(["IP:127.0.0.1", *(f"DNS:{host}" for host in hosts)])
    names = ("-subj", "/CN=registry.test", "-addext", f"subjectAltName={alternatives}")
    files = ("-keyout", str(made.key), "-out", str(made.certificate))
    command = [str(require_program("openssl")), "req", "-x509", *key, *names, "-days", "1", *files]
    subprocess.run(command, check=True, capture_output=True)
    return made
