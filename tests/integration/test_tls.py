"""TLS by certificate files: what is offered, what is served over it, and wrong certificates."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certificates import Certificate, make_certificate
from tests.http2_client import Http2Client
from tests.integration.conformance.content import Content, digest_of, random_blob
from tests.integration.conformance.expectations import assert_refused
from tests.programs import require_program
from tests.server import RunningServer
from tests.wire import Wire, request

pytestmark = pytest.mark.real("openssl")
SIZE = (8 << 20) + 11


@dataclass(frozen=True, slots=True)
class SecureServer:
    """A server, and the certificate its clients must trust."""

    running: RunningServer
    certificate: Certificate

    def connect(self, *protocols: str) -> ssl.SSLSocket:
        """Return a connection that offers these protocols."""
        host, _, port = self.running.host.partition(":")
        plain = socket.create_connection((host, int(port)), 10)
        return self.certificate.client(*protocols).wrap_socket(plain, server_hostname=host)

    def http1(self) -> Wire:
        return Wire(self.connect("http/1.1"))

    def http2(self) -> Http2Client:
        return Http2Client(self.connect("h2"), self.running.host, scheme="https")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServer]:
    folder = tmp_path_factory.mktemp("tls")
    certificate = make_certificate(folder)
    settings = certificate.settings() | {"server.header_timeout": "1s"}
    server = RunningServer(folder, workers=2, settings=settings, tls=certificate.client())
    yield SecureServer(server, certificate)
    assert server.stop() == 0
    assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def large(secure: SecureServer) -> Content:
    blob = random_blob(SIZE)
    with secure.http1() as wire:
        target = f"/v2/tests/tls/blobs/uploads/?digest={blob.digest}"
        wire.send(request("POST", target, body=blob.content))
        assert wire.response("POST").status == 201
    return blob


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (["spdy/1"], None)],
    ids=str,
)
def test_the_protocol_is_agreed_on(
    secure: SecureServer, offered: list[str], agreed: str | None
) -> None:
    with secure.connect(*offered) as sock:
        assert sock.selected_alpn_protocol() == agreed
        assert sock.version() == "TLSv1.3"


def test_http_1_over_tls_sends_files_whole(secure: SecureServer, large: Content) -> None:
    target = f"/v2/tests/tls/blobs/{large.digest}"
    with secure.http1() as wire:
        wire.send(request("GET", "/v2/") + request("GET", target, "Range: bytes=7-3000000"))
        wire.send(request("GET", target) + request("GET", "/v2/"))
        assert wire.response().status == 200
        assert wire.response().body == large.content[7:3_000_001]
        assert digest_of(wire.response().body) == large.digest
        assert wire.response().status == 200


def test_http_2_over_tls_sends_files_whole(secure: SecureServer, large: Content) -> None:
    with secure.http2() as client:
        streams = [client.start("GET", f"/v2/tests/tls/blobs/{large.digest}") for _ in range(3)]
        for stream in streams:
            assert digest_of(client.response(stream).body) == large.digest


def test_old_tls_is_refused(secure: SecureServer) -> None:
    context = secure.certificate.client()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    host, _, port = secure.running.host.partition(":")
    with socket.create_connection((host, int(port)), 10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=host)


def test_plain_http_on_a_tls_port_harms_nobody(secure: SecureServer) -> None:
    with Wire.to(secure.running) as wire:
        wire.send(request("GET", "/v2/"))
        wire.rest()
    with secure.http1() as wire:
        assert wire.get("/v2/").status == 200


def test_tls_on_a_plain_port_is_told_so(server: RunningServer) -> None:
    with Wire.to(server) as wire:
        wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200))
        assert "plain HTTP" in assert_refused(wire.response(), 400, "BAD_REQUEST")["message"]


def test_a_handshake_that_never_ends_is_cut(secure: SecureServer) -> None:
    with Wire.to(secure.running) as wire:
        assert wire.rest() == b""


@pytest.mark.real("curl")
@pytest.mark.parametrize(("option", "version"), [("--http2", "2"), ("--http1.1", "1.1")])
def test_curl_agrees(
    secure: SecureServer, large: Content, tmp_path: Path, option: str, version: str
) -> None:
    url = f"{secure.running.url}/v2/tests/tls/blobs/{large.digest}"
    command = [str(require_program("curl")), "--silent", "--show-error", "--fail", option]
    command += ["--cacert", str(secure.certificate.certificate), "--output", str(tmp_path / "blob")]
    command += ["--write-out", "%{http_version}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, version, "")
    assert digest_of((tmp_path / "blob").read_bytes()) == large.digest


# ── certificates that cannot be used ─────────────────────────────────────────────────────────


def start_with(folder: Path, certificate: Path, key: Path) -> str:
    """Start a server that must not start; return what it says."""
    with pytest.raises(RuntimeError, match="ended at once") as failure:
        RunningServer(folder, settings=Certificate(certificate, key).settings())
    return str(failure.value)


def test_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    message = start_with(tmp_path, tmp_path / "nowhere.crt", made.key)
    assert f"error: cannot read the TLS file {tmp_path / 'nowhere.crt'}" in message
    assert "Traceback" not in message


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    made, other = make_certificate(tmp_path), make_certificate(tmp_path, "other")
    message = start_with(tmp_path, made.certificate, other.key)
    assert str(made.certificate) in message
    assert str(other.key) in message
    assert "belong together" in message
    assert "Traceback" not in message


@pytest.mark.parametrize("content", [b"", b"no certificate", bytes(500)], ids=len)
def test_a_file_that_is_no_certificate(tmp_path: Path, content: bytes) -> None:
    made = make_certificate(tmp_path)
    wrong = tmp_path / "wrong.crt"
    wrong.write_bytes(content)
    message = start_with(tmp_path, wrong, made.key)
    assert str(wrong) in message
    assert "Traceback" not in message


def test_a_key_with_a_password_does_not_wait_for_one(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    locked = tmp_path / "locked.key"
    command = [str(require_program("openssl")), "ec", "-in", str(made.key), "-out", str(locked)]
    subprocess.run(
        [*command, "-aes128", "-passout", "pass:secret"], check=True, capture_output=True
    )
    message = start_with(tmp_path, made.certificate, locked)
    assert str(locked) in message
    assert "Traceback" not in message


def test_a_certificate_without_its_key(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    with pytest.raises(RuntimeError) as failure:
        RunningServer(tmp_path, settings={"server.tls_certificate": str(made.certificate)})
    assert "tls_key" in str(failure.value)
