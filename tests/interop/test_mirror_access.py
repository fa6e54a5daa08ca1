"""The mission's single user at the front of a mirror: each client logs in as its users do, and what
is public needs no login. The registries never see it."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.interop.mirror_clients import (
    MIRROR_CLIENTS,
    MirrorClient,
    MirroredContainerd,
    NamedDocker,
    NamedPodman,
)
from tests.interop.mirrored_registries import HUB, NAME, PRIVATE, QUAY, TAG, Registries
from tests.interop.sandbox import Sandbox
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

USER, PASSWORD = "ann", "wonderland"
ACCESS: Final = f'[access]\nusername = "{USER}"\npassword = "{PASSWORD}"\n'
CLOSED, PARTLY = "", f'private = ["{HUB}/team/*"]\n'

CLIENTS: Final[dict[str, type[MirrorClient]]] = {
    "docker": NamedDocker,
    "podman-by-name": NamedPodman,
    **{name: one for name, one in MIRROR_CLIENTS.items() if not one.HUB_ONLY},
}
"""dockerd sends the login for Docker Hub to its mirrors, and none else: there it pulls by name."""

LOGIN: Final = {
    "docker": "docker login -u ann --password-stdin {}",
    "podman-by-name": "podman login --tls-verify=false -u ann --password-stdin {}",
    "podman": "podman login --tls-verify=false -u ann --password-stdin {}",
    "buildah": "buildah login --tls-verify=false -u ann --password-stdin {}",
    "skopeo": "skopeo login --tls-verify=false -u ann --password-stdin {}",
    "crane": "crane auth login -u ann --password-stdin {}",
    "oras": "oras login --plain-http -u ann --password-stdin {}",
    "regctl": "regctl registry set {0} --tls disabled --skip-check && "
    "regctl registry login -u ann --pass-stdin {0}",
    "buildkit": "crane auth login -u ann --password-stdin {}",  # it reads what docker's login wrote
}


def log_in(client: MirrorClient, name: str) -> None:
    """Log in to the mirror as the client's users do."""
    if isinstance(client, MirroredContainerd):
        client.login = f"{USER}:{PASSWORD}"
        return
    (client.sandbox.folder / "password").write_text(PASSWORD)
    script = LOGIN[name].format(client.mirror.host)
    client.sandbox.run("sh", "-euc", f"({script}) < password")


def assert_refused(client: MirrorClient, registries: Registries, name: str) -> None:
    """Fail unless a pull fails for want of a login, before any registry is asked."""
    with pytest.raises(AssertionError):
        client.pull(f"{HUB}/{name}:{TAG}")
    assert not [path for path in registries.requested() if f"/{name}/" in path]
    wait_until(registries.refusals)


@pytest.fixture
def open_registries(new_folder: Callable[[str], Path]) -> Iterator[Callable[[str], Registries]]:
    """Start registries behind a mirror with a login, whose rules are TOML."""
    opened: list[Registries] = []

    def start(rules: str) -> Registries:
        opened.append(Registries(new_folder("mirror"), more=ACCESS + rules))
        return opened[-1]

    yield start
    for one in opened:
        with one:
            assert_unseen(one)


def assert_unseen(registries: Registries) -> None:
    """PX-03: no registry, token server or log has seen the login of the mirror."""
    secrets = (PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
    for origin in registries.origins:
        seen = [str(one.headers) + str(one.query) for one in origin.requests]
        assert seen
        assert not [one for one in seen if any(secret in one for secret in secrets)]
    assert not [secret for secret in secrets if secret in registries.mirror.log()]


@pytest.mark.parametrize("name", CLIENTS)
def test_the_single_user(
    open_registries: Callable[[str], Registries], sandbox: Sandbox, name: str
) -> None:
    """PX-03: nothing without the login, everything with it."""
    registries = open_registries(CLOSED)
    with CLIENTS[name](sandbox, registries.mirror) as client:
        assert_refused(client, registries, NAME)
        log_in(client, name)
        for registry in (HUB, QUAY):
            assert client.pull(f"{registry}/{NAME}:{TAG}") == registries.layers(registry)


@pytest.mark.parametrize("name", CLIENTS)
def test_public_names_and_private_ones(
    open_registries: Callable[[str], Registries], sandbox: Sandbox, name: str
) -> None:
    """PX-03: what is public is pulled by anybody, the rest by whoever logs in."""
    registries = open_registries(PARTLY)
    with CLIENTS[name](sandbox, registries.mirror) as client:
        for public in (f"{HUB}/{NAME}", f"{QUAY}/{NAME}"):
            assert client.pull(f"{public}:{TAG}")
        assert_refused(client, registries, PRIVATE)
        log_in(client, name)
        for allowed in (f"{HUB}/{PRIVATE}", f"{HUB}/{NAME}"):
            assert client.pull(f"{allowed}:{TAG}") == registries.layers(HUB)
