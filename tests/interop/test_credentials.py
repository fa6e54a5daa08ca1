"""Logins are shared with other clients: what they keep we find, and what we keep they find."""

import json
from pathlib import Path
from typing import Final

import pytest

from entrepot.adapters.credentials.search import find_credentials
from entrepot.adapters.remotes.exchange import Request
from entrepot.adapters.remotes.session import Session
from entrepot.adapters.remotes.transport import CurlTransport
from entrepot.oci.errors import Unauthorized
from entrepot.ports.credential_store import Credentials, CredentialStore
from tests.docker_registry import RunningDockerRegistry
from tests.interop.sandbox import Sandbox
from tests.unit.adapters.credentials.keychain import Keychain

ANN: Final = Credentials("ann", "wonderland")


@pytest.fixture
def docker_file(sandbox: Sandbox) -> Path:
    """Where docker's kin keep logins."""
    return Path(sandbox.environment["HOME"]) / ".docker" / "config.json"


@pytest.fixture
def keychain(sandbox: Sandbox, docker_file: Path) -> Keychain:
    """A helper that docker's file names as the keeper of all logins."""
    sandbox.environment["PATH"] = f"{sandbox.folder}:{sandbox.environment['PATH']}"
    docker_file.parent.mkdir()
    docker_file.write_text('{"credsStore": "test"}')
    return Keychain(sandbox.folder)


LOGIN: Final = {
    "skopeo": ("login", "--tls-verify=false", "-u", "ann", "-p", "wonderland"),
    "podman": ("login", "--tls-verify=false", "-u", "ann", "-p", "wonderland"),
    "buildah": ("login", "--tls-verify=false", "-u", "ann", "-p", "wonderland"),
    "crane": ("auth", "login", "-u", "ann", "-p", "wonderland"),
    "oras": ("login", "--plain-http", "-u", "ann", "-p", "wonderland"),
}
CLIENTS: Final = [pytest.param(name, marks=pytest.mark.real(name)) for name in LOGIN]
SHOWING: Final = [pytest.param(name, marks=pytest.mark.real(name)) for name in ("skopeo", "podman")]


def shown_by_crane(sandbox: Sandbox, registry: str) -> tuple[str, str]:
    """Return the login that crane has for a registry."""
    told = json.loads(sandbox.run("crane", "auth", "get", registry))
    return told["Username"], told["Secret"]


async def accepted(host: str, store: CredentialStore) -> bool:
    """Say whether a registry accepts the login that the store has for it."""
    transport = CurlTransport(environment={})
    session = Session(host, transport, store)
    try:
        async with session.send(Request("GET", "/v2/"), expect={401}) as response:
            return response.status == 200
    finally:
        await session.close()
        await transport.close()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.real("docker-registry")
async def test_what_others_keep_is_found_accepted_and_forgotten(
    sandbox: Sandbox, guarded: RunningDockerRegistry, client: str
) -> None:
    store = find_credentials(sandbox.environment)
    assert not await accepted(guarded.host, store)
    sandbox.run(client, *LOGIN[client], guarded.host)
    assert await store.find(guarded.host, "any/repository") == ANN
    assert await accepted(guarded.host, store)
    assert await store.erase(guarded.host)
    assert await store.find(guarded.host) is None


@pytest.mark.parametrize("client", SHOWING)
@pytest.mark.parametrize("registry", ["registry.example:5000", "docker.io"])
async def test_what_we_keep_is_found_by_others(
    sandbox: Sandbox, docker_file: Path, client: str, registry: str
) -> None:
    store = find_credentials(sandbox.environment)
    assert await store.save(registry, ANN) == str(docker_file)
    assert sandbox.run(client, "login", "--get-login", registry).strip() == "ann"


@pytest.mark.real("crane")
@pytest.mark.parametrize(
    ("registry", "asked"),
    [("registry.example:5000", "registry.example:5000"), ("docker.io", "index.docker.io")],
)
async def test_crane_finds_what_we_keep(sandbox: Sandbox, registry: str, asked: str) -> None:
    await find_credentials(sandbox.environment).save(registry, ANN)
    assert shown_by_crane(sandbox, asked) == ("ann", "wonderland")


@pytest.mark.parametrize("client", SHOWING)
async def test_a_file_of_podmans_stays_podmans(sandbox: Sandbox, client: str) -> None:
    """Both write the same file in turn, and lose nothing of each other's."""
    file = sandbox.folder / "auth.json"
    store = find_credentials(sandbox.environment, authfile=file)
    for registry in ("docker.io", "ghcr.io"):
        assert await store.save(registry, ANN) == str(file)
    sandbox.run(client, "logout", f"--authfile={file}", "ghcr.io")
    assert await store.find("ghcr.io") is None
    assert await store.find("docker.io", "library/busybox") == ANN
    shown = sandbox.run(client, "login", f"--authfile={file}", "--get-login", "docker.io")
    assert shown.strip() == "ann"


@pytest.mark.real("skopeo", "docker-registry")
async def test_skopeo_is_let_in_with_what_we_keep(
    sandbox: Sandbox, guarded: RunningDockerRegistry
) -> None:
    reference = f"docker://{guarded.host}/tests/nothing"
    asked = ("skopeo", "list-tags", "--tls-verify=false", reference)
    assert "authentication required" in sandbox.fails(*asked)
    await find_credentials(sandbox.environment).save(guarded.host, ANN)
    assert "authentication required" not in sandbox.fails(*asked)


@pytest.mark.real("crane", "docker-registry")
async def test_a_helper_is_shared_with_dockers_kin(
    sandbox: Sandbox, guarded: RunningDockerRegistry, keychain: Keychain
) -> None:
    sandbox.run("crane", *LOGIN["crane"], guarded.host)
    assert keychain.kept == {guarded.host: ["ann", "wonderland"]}
    store = find_credentials(sandbox.environment)
    assert await accepted(guarded.host, store)
    assert await store.erase(guarded.host)
    assert "test" in await store.save(guarded.host, ANN)
    assert shown_by_crane(sandbox, guarded.host) == ("ann", "wonderland")


@pytest.mark.real("docker-registry")
async def test_a_wrong_login_is_refused_by_the_registry(
    sandbox: Sandbox, guarded: RunningDockerRegistry
) -> None:
    given = find_credentials(sandbox.environment, given=Credentials("ann", "wrong"))
    transport = CurlTransport(environment={})
    session = Session(guarded.host, transport, given)
    with pytest.raises(Unauthorized, match=f"entrepot login {guarded.host}"):
        async with session.send(Request("GET", "/v2/")):
            pass
    await transport.close()
