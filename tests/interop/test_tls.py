"""Over TLS, with a certificate that has to be trusted first; by HTTP/2 where the client can."""

from collections.abc import Callable

import pytest

from tests.certificates import Certificate
from tests.interop.clients import LAYOUT_CLIENTS, Client, require_root
from tests.interop.images import TAG
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.programs import require_program
from tests.server import RunningServer

pytestmark = pytest.mark.real("openssl")

SPEAK_HTTP_2 = ("crane", "oras", "regctl")
"""Those clients that do; the others stay with HTTP/1.1."""


@pytest.fixture
def trusting(sandbox: Sandbox, certificate: Certificate) -> Sandbox:
    """A machine that trusts the server's certificate."""
    sandbox.environment["SSL_CERT_FILE"] = str(certificate.certificate)
    return sandbox


@pytest.mark.parametrize("client", LAYOUT_CLIENTS)
def test_round_trip(
    trusting: Sandbox, tls_server: RunningServer, multi_platform: Layout, client: str
) -> None:
    require_program(client)
    encrypted = LAYOUT_CLIENTS[client](trusting, encrypted=True)
    reference = f"{tls_server.host}/tests/{client}:{TAG}"
    encrypted.upload(multi_platform, reference)
    pulled = encrypted.download(reference, "pulled")
    assert pulled.contents(pulled.find()) == multi_platform.contents(multi_platform.find())


@pytest.mark.parametrize("client", SPEAK_HTTP_2)
def test_blobs_travel_by_http_2(
    trusting: Sandbox, tls_server: RunningServer, busybox: Layout, client: str
) -> None:
    require_program(client)
    trusting.environment["GODEBUG"] = "http2debug=1"
    encrypted = LAYOUT_CLIENTS[client](trusting, encrypted=True)
    reference = f"{tls_server.host}/tests/http2-{client}:{TAG}"
    encrypted.upload(busybox, reference)
    assert encrypted.pull(reference) == busybox.image(busybox.find())
    (*_, layer) = busybox.document(busybox.find())["layers"]
    sent = "http2: Transport encoding header"
    assert f'{sent} ":method" = "PUT"' in trusting.transcript
    assert f'{sent} ":path" = "/v2/tests/http2-{client}/blobs/{layer["digest"]}"' in (
        trusting.transcript
    )


@pytest.mark.parametrize("client", ["skopeo", "oras"])  # the others try again and again
def test_unknown_authority_is_refused(
    sandbox: Sandbox, tls_server: RunningServer, busybox: Layout, client: str
) -> None:
    require_program(client)
    encrypted = LAYOUT_CLIENTS[client](sandbox, encrypted=True)
    with pytest.raises(AssertionError, match="certificate signed by unknown authority"):
        encrypted.upload(busybox, f"{tls_server.host}/tests/refused:{TAG}")


@pytest.mark.real("skopeo", "podman")
def test_folder_with_the_certificate_is_enough(
    sandbox: Sandbox, tls_server: RunningServer, certificate: Certificate, busybox: Layout
) -> None:
    require_root("podman")
    folder = sandbox.folder / "authority"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(certificate.certificate.read_bytes())
    reference = f"{tls_server.host}/tests/folder:{TAG}"
    source = f"oci:{busybox.path}:{TAG}"
    sandbox.run("skopeo", "copy", f"--dest-cert-dir={folder}", source, f"docker://{reference}")
    sandbox.run("podman", "pull", f"--cert-dir={folder}", reference)
    told = sandbox.run("podman", "image", "inspect", "--format={{.Digest}}", reference)
    assert told.strip() == busybox.find()["digest"]


def test_docker_takes_any_certificate_on_loopback(
    tls_server: RunningServer, busybox: Layout, new_client: Callable[[str], Client]
) -> None:
    docker, reference = new_client("docker"), f"{tls_server.host}/tests/docker:{TAG}"
    assert docker.push(busybox, reference) == docker.pull(reference)
