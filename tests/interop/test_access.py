"""Our program and registries that are careful: with TLS, and with names and passwords."""

import json
from collections.abc import Callable

import pytest

from tests.certificates import Certificate
from tests.docker_registry import RunningDockerRegistry
from tests.interop.clients import Skopeo
from tests.interop.images import TAG
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.programs import require_program
from tests.server import RunningServer

pytestmark = pytest.mark.slow

NOT_ALLOWED = 3
"""The exit code where a login is missing or wrong."""


@pytest.mark.real("openssl")
class TestTls:
    @pytest.fixture
    def image(self, tls_server: RunningServer, request: pytest.FixtureRequest) -> str:
        test = request.node.name.replace("_", "-").partition("[")[0]
        return f"{tls_server.host}/tests/{test}:{TAG}"

    def test_with_a_file_of_certificates(
        self, sandbox: Sandbox, certificate: Certificate, multi_platform: Layout, image: str
    ) -> None:
        trust = ("--ca-file", certificate.certificate)
        sandbox.run("entrepot", "push", *trust, multi_platform.path, image)
        sandbox.run("entrepot", "pull", *trust, image, f"oci:pulled:{TAG}")
        pulled = Layout(sandbox.folder / "pulled")
        expected = multi_platform.contents(multi_platform.find())
        assert pulled.contents(pulled.find()) == expected
        copy = image.replace(":1.0", ":copy")
        sandbox.run("entrepot", "cp", *trust, image, copy)
        told = sandbox.run("entrepot", "digest", *trust, copy)
        assert told.strip() == multi_platform.find()["digest"]
        told = sandbox.run("entrepot", "ping", *trust, "--output=json", image.partition("/")[0])
        assert json.loads(told)["url"].startswith("https://")

    def test_with_a_variable_of_the_environment(
        self, sandbox: Sandbox, certificate: Certificate, busybox: Layout, image: str
    ) -> None:
        sandbox.environment["SSL_CERT_FILE"] = str(certificate.certificate)
        sandbox.run("entrepot", "push", busybox.path, image)
        sandbox.run("entrepot", "validate", image)

    def test_from_one_that_is_trusted_to_one_without(
        self,
        sandbox: Sandbox,
        certificate: Certificate,
        busybox: Layout,
        image: str,
        repository: str,
    ) -> None:
        """Each side has its own options."""
        file = certificate.certificate
        sandbox.run("entrepot", "push", "--ca-file", file, busybox.path, image)
        sandbox.run("entrepot", "cp", "--src-ca-file", file, image, f"{repository}:{TAG}")
        sandbox.run(
            "entrepot", "cp", "--dest-tls-verify=false", f"{repository}:{TAG}", f"{image}-back"
        )
        told = sandbox.run("entrepot", "digest", "--insecure", f"{image}-back")
        assert told.strip() == busybox.find()["digest"]

    def test_nobody_is_trusted_by_chance(
        self, sandbox: Sandbox, busybox: Layout, image: str
    ) -> None:
        done = sandbox.attempt("entrepot", "push", busybox.path, image)
        assert done.returncode == 1
        assert "--ca-file" in done.stderr
        assert "Traceback" not in done.stderr


LOGIN = {
    "skopeo": "skopeo login --tls-verify=false -u ann --password-stdin {}",
    "podman": "podman login --tls-verify=false -u ann --password-stdin {}",
    "buildah": "buildah login --tls-verify=false -u ann --password-stdin {}",
    "docker": "docker login -u ann --password-stdin {}",
    "crane": "crane auth login -u ann --password-stdin {}",
    "oras": "oras login --plain-http -u ann --password-stdin {}",
}
OURS = "entrepot login -u ann --password-stdin {}"


@pytest.mark.real("docker-registry")
class TestLogins:
    @pytest.fixture
    def image(
        self,
        guarded: RunningDockerRegistry,
        new_sandbox: Callable[[], Sandbox],
        busybox: Layout,
    ) -> str:
        """An image that only ann can read, pushed from another machine."""
        other, image = new_sandbox(), f"{guarded.host}/tests/guarded:{TAG}"
        log_in(other, OURS, guarded.host)
        other.run("entrepot", "push", busybox.path, image)
        return image

    def test_log_in_pull_log_out(
        self, sandbox: Sandbox, guarded: RunningDockerRegistry, image: str, busybox: Layout
    ) -> None:
        done = sandbox.attempt("entrepot", "pull", image, f"oci:before:{TAG}")
        assert done.returncode == NOT_ALLOWED
        assert f"entrepot login {guarded.host}" in done.stderr
        assert not (sandbox.folder / "before").exists()
        log_in(sandbox, OURS, guarded.host)
        sandbox.run("entrepot", "pull", image, f"oci:pulled:{TAG}")
        pulled = Layout(sandbox.folder / "pulled")
        assert pulled.image(pulled.find()) == busybox.image(busybox.find())
        sandbox.run("entrepot", "logout", guarded.host)
        assert sandbox.attempt("entrepot", "digest", image).returncode == NOT_ALLOWED
        assert "wonderland" not in sandbox.transcript

    def test_a_wrong_password_is_not_kept(
        self, sandbox: Sandbox, guarded: RunningDockerRegistry, image: str
    ) -> None:
        words = OURS.format(guarded.host)
        told = sandbox.fails("sh", "-euc", f"echo looking-glass | {words}")
        assert "looking-glass" not in told.replace("echo looking-glass", "")
        assert sandbox.attempt("entrepot", "digest", image).returncode == NOT_ALLOWED

    @pytest.mark.parametrize("client", LOGIN)
    def test_a_login_of_others_is_ours(
        self, sandbox: Sandbox, guarded: RunningDockerRegistry, image: str, client: str
    ) -> None:
        require_program(client)
        log_in(sandbox, LOGIN[client], guarded.host)
        sandbox.run("entrepot", "pull", image, "pulled")
        copy = image.replace(":1.0", f":{client}")
        sandbox.run("entrepot", "cp", image, copy)
        assert client in sandbox.run("entrepot", "tags", image.rpartition(":")[0]).split()

    @pytest.mark.real("skopeo", "crane", "oras", "regctl")
    def test_our_login_is_that_of_others(
        self, sandbox: Sandbox, guarded: RunningDockerRegistry, image: str, busybox: Layout
    ) -> None:
        log_in(sandbox, OURS, guarded.host)
        pulled = Skopeo(sandbox).download(image, "skopeo")
        assert pulled.image(pulled.find()) == busybox.image(busybox.find())
        digest = busybox.find()["digest"]
        assert sandbox.run("crane", "digest", image).strip() == digest
        sandbox.run("oras", "pull", "--plain-http", image)
        host = f"reg={guarded.host},tls=disabled"
        told = sandbox.run("regctl", "--host", host, "manifest", "head", image)
        assert told.strip() == digest

    def test_once_without_being_kept(
        self, sandbox: Sandbox, image: str, repository: str, busybox: Layout
    ) -> None:
        copy = f"entrepot cp --src-username ann --src-password-stdin {image} {repository}:{TAG}"
        sandbox.run("sh", "-euc", f"printf wonderland | {copy}")
        told = sandbox.run("entrepot", "digest", f"{repository}:{TAG}")
        assert told.strip() == busybox.find()["digest"]
        assert sandbox.attempt("entrepot", "digest", image).returncode == NOT_ALLOWED

    def test_debugging_tells_no_secret(
        self, sandbox: Sandbox, guarded: RunningDockerRegistry, image: str
    ) -> None:
        log_in(sandbox, OURS + " --debug", guarded.host)
        told = sandbox.said("entrepot", "pull", "--debug", image, "pulled")
        assert "/v2/tests/guarded/manifests/1.0" in told
        for secret in ("wonderland", "YW5uOndvbmRlcmxhbmQ="):  # ann:wonderland in base64
            assert secret not in sandbox.transcript


def log_in(sandbox: Sandbox, command: str, host: str) -> None:
    """Log in as ann, whose password is in a file and not on a command line."""
    (sandbox.folder / "password").write_text("wonderland\n")
    sandbox.run("sh", "-euc", f"{command.format(host)} < password")
