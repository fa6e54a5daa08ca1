"""What libcurl's codes mean. The words are those that libcurl and OpenSSL really use."""

import pytest

from entrepot.adapters.remotes.transport_errors import Peer, failure
from entrepot.oci.errors import (
    CertificateRefused,
    ConnectionLost,
    HostUnknown,
    RegistryError,
    Unavailable,
    Unsupported,
)

PEER = Peer("registry.test:5000")
PROXIED = Peer("registry.test:5000", "http://proxy:3128")


@pytest.mark.parametrize(
    ("code", "words", "error", "shown"),
    [
        (1, "Received HTTP/0.9 when not allowed", Unavailable, "leave out --plain-http"),
        (6, "Could not resolve host: registry.test", HostUnknown, "cannot be resolved"),
        (7, "Failed to connect to registry.test port 5000", ConnectionLost, "cannot be reached"),
        (18, "end of response with 5 bytes missing", ConnectionLost, "ended its answer before"),
        (28, "Connection timed out after 10000 milliseconds", ConnectionLost, "in time"),
        (35, "error:0A00010B:SSL routines::wrong version number", Unavailable, "--plain-http"),
        (35, "error:0A00010B:SSL routines::unexpected eof", ConnectionLost, "check the port"),
        (35, "tlsv1 alert protocol version", CertificateRefused, "TLS 1.2 is the least"),
        (56, "tlsv13 alert certificate required, errno 0", CertificateRefused, "our client cert"),
        (35, "ssl/tls alert handshake failure", CertificateRefused, "our client certificate"),
        (58, "could not load PEM client certificate", CertificateRefused, "both it and its key"),
        (60, "self-signed certificate", CertificateRefused, "--ca-file"),
        (77, "error adding trust anchors", CertificateRefused, "SSL_CERT_FILE"),
        (56, "Recv failure: Connection reset by peer", ConnectionLost, "broke off"),
        (56, "Too large response headers: 308000 > 307200", ConnectionLost, "header fields"),
        (3, "URL rejected: Malformed input", Unsupported, "check it"),
        (67, "", Unsupported, "use login instead"),
        (99, "something that nobody has seen", ConnectionLost, "something that nobody has seen"),
        (99, "", ConnectionLost, "code 99"),
    ],
)
def test_a_failure_names_the_host_and_what_to_do(
    code: int, words: str, error: type[RegistryError], shown: str
) -> None:
    made = failure(code, words, PEER)
    assert type(made) is error
    assert shown in made.message
    if code not in (58, 77):
        assert "registry.test:5000" in made.message


@pytest.mark.parametrize(
    ("code", "words", "shown"),
    [
        (56, "CONNECT tunnel failed, response 407", "does not accept our credentials"),
        (56, "CONNECT tunnel failed, response 503", "could not reach registry.test:5000"),
        (97, "User was rejected by the SOCKS5 server (1 1).", "does not accept our credentials"),
        (97, "cannot complete SOCKS5 connection to registry.test. (4)", "could not reach"),
        (7, "Failed to connect to proxy port 3128", "through the proxy http://proxy:3128"),
    ],
)
def test_a_failure_of_the_proxy_names_the_proxy(code: int, words: str, shown: str) -> None:
    made = failure(code, words, PROXIED)
    assert isinstance(made, ConnectionLost) is ("credentials" not in shown)
    message = made.message
    assert shown in message
    assert "http://proxy:3128" in message


def test_what_a_server_says_cannot_reach_the_terminal_as_control_characters() -> None:
    message = failure(8, "Weird \x1b[31m\r\nreply", PEER).message
    assert message.isprintable()
