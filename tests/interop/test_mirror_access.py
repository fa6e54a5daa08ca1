"""The mission's single user at the front of a mirror: each client logs in as its users do, and what
is public needs no login. The registries never see it."""

import base64
from typing import Final

import pytest

from tests.certificates import Certificate
from tests.interop.mirror_clients import (
    MIRROR_CLIENTS,
    MirrorClient,
    MirroredContainerd,
    MirroredDocker,
    NamedDocker,
    NamedPodman,
)
from tests.interop.mirrored_registries import HUB, NAME, PRIVATE, QUAY, TAG, Registries
from tests.interop.sandbox import Sandbox
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

USER, PASSWORD = "ann", "wonderland"
ACCESS: Final = f'[access]\nusername = "{USER}"\npassword = "{PASSWORD}"\n'
PRIVATE_NAMES: Final = f'private = ["{HUB}/team/*"]\n'

CLIENTS: Final[dict[str, type[MirrorClient]]] = {
    "docker": NamedDocker,
    "podman-by-name": NamedPodman,
    **{name: one for name, one in MIRROR_CLIENTS.items() if not one.HUB_ONLY},
}
"""dockerd sends the login for Docker Hub to its mirrors, and none else: there it pulls by name."""

LOGIN: Final = {
    "docker": "docker login -u ann --password-stdin {}",
    "podman-by-name": "podman login --tls-verify={1} -u ann --password-stdin {0}",
    "podman": "podman login --tls-verify={1} -u ann --password-stdin {0}",
    "buildah": "buildah login --tls-verify={1} -u ann --password-stdin {0}",
    "skopeo": "skopeo login --tls-verify={1} -u ann --password-stdin {0}",
    "crane": "crane auth login -u ann --password-stdin {}",
    "oras": "oras login --plain-http={2} -u ann --password-stdin {0}",
    "regctl": "regctl registry set {0} --tls {3} --skip-check && "
    "regctl registry login -u ann --pass-stdin {0}",
    "buildkit": "crane auth login -u ann --password-stdin {}",  # it reads what docker's login wrote
}


def log_in(client: MirrorClient, name: str) -> None:
    """Log in to the mirror as the client's users do."""
    if isinstance(client, MirroredContainerd):
        client.login = f"{USER}:{PASSWORD}"
        return
    (client.sandbox.folder / "password").write_text(PASSWORD)
    encrypted = client.mirror.tls is not None
    words = [str(encrypted).lower(), str(not encrypted).lower()]
    words.append("enabled" if encrypted else "disabled")
    script = LOGIN[name].format(client.mirror.host, *words)
    client.sandbox.run("sh", "-euc", f"({script}) < password")


def assert_refused(client: MirrorClient, registries: Registries, name: str) -> None:
    """Fail unless a pull fails for want of a login, before any registry is asked."""
    with pytest.raises(AssertionError):
        client.pull(f"{HUB}/{name}:{TAG}")
    assert not [path for path in registries.requested() if f"/{name}/" in path]
    wait_until(registries.refusals)


def assert_unseen(registries: Registries) -> None:
    """PX-03: no registry, token server or log has seen the login of the mirror."""
    secrets = (PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
    for origin in registries.origins:
        seen = [str(one.headers) + str(one.query) for one in origin.requests]
        assert seen
        assert not [one for one in seen if any(secret in one for secret in secrets)]
    assert not [secret for secret in secrets if secret in registries.mirror.log()]


@pytest.mark.parametrize("name", CLIENTS)
def test_the_single_user(sandbox: Sandbox, name: str) -> None:
    """PX-03: nothing without the login, everything with it."""
    with (
        Registries(sandbox.folder / "mirror", ACCESS) as registries,
        CLIENTS[name](sandbox, registries.mirror) as client,
    ):
        assert_refused(client, registries, NAME)
        log_in(client, name)
        for registry in (HUB, QUAY):
            assert client.pull(f"{registry}/{NAME}:{TAG}") == registries.layers(registry)
        assert_unseen(registries)


@pytest.mark.parametrize("name", CLIENTS)
def test_public_names_and_private_ones(sandbox: Sandbox, name: str) -> None:
    """PX-03: what is public is pulled by anybody, the rest by whoever logs in."""
    with Registries(sandbox.folder / "mirror", ACCESS + PRIVATE_NAMES) as registries:
        assert_login_opens(registries, sandbox, name)


def test_dockerd_mirrors_what_is_public(sandbox: Sandbox) -> None:
    """PX-03: as the mirror of Docker Hub, asked by names without a registry."""
    with (
        Registries(sandbox.folder / "mirror", ACCESS + PRIVATE_NAMES) as registries,
        MirroredDocker(sandbox, registries.mirror) as client,
    ):
        assert client.pull(f"{HUB}/{NAME}:{TAG}") == registries.layers(HUB)
        assert_refused(client, registries, PRIVATE)


@pytest.mark.real("openssl")
@pytest.mark.parametrize("name", CLIENTS)
def test_public_names_and_private_ones_over_tls(
    sandbox: Sandbox, certificate: Certificate, name: str
) -> None:
    """PX-03: the realm of tokens is the address that the client came by, over HTTP/2, too."""
    sandbox.environment["SSL_CERT_FILE"] = str(certificate.certificate)
    rules = ACCESS + PRIVATE_NAMES
    with Registries(sandbox.folder / "mirror", rules, certificate) as registries:
        assert_login_opens(registries, sandbox, name)


def assert_login_opens(registries: Registries, sandbox: Sandbox, name: str) -> None:
    """Fail unless anybody pulls what is public, and who logs in the rest."""
    with CLIENTS[name](sandbox, registries.mirror) as client:
        for registry in (HUB, QUAY):
            assert client.pull(f"{registry}/{NAME}:{TAG}") == registries.layers(registry)
        assert_refused(client, registries, PRIVATE)
        log_in(client, name)
        for allowed in (PRIVATE, NAME):
            assert client.pull(f"{HUB}/{allowed}:{TAG}") == registries.layers(HUB)
    assert_unseen(registries)
