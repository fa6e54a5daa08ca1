"""TLS by certificate files."""

import ssl
from pathlib import Path


class CertificateError(OSError):
    """A certificate or its key cannot be used; the message names the file and what is wrong."""


def tls_context(certificate: Path, key: Path, *, http2: bool) -> ssl.SSLContext:
    """Return a server context: TLS 1.2 and up, ALPN offering h2 (if wanted) and http/1.1.

    `certificate` holds the chain in PEM, leaf first. Raise CertificateError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    for path in (certificate, key):
        if not path.is_file():
            raise CertificateError(f"cannot read the TLS file {path}; check the path")
    try:
        # A password asked for on the terminal would stop an unattended start.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        raise CertificateError(
            f"the certificate {certificate} and the key {key} cannot be used: {reason}; both "
            "must be PEM, belong together, and the key must not be encrypted"
        ) from None
    return context
