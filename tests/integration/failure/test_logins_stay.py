"""Logins go to the registry and its own token server, and nowhere else, wherever it leads."""

import base64
import json
from collections.abc import Callable

import pytest

from entrepot.testing import Challenge, Exchange, MockImage, MockRegistry, RedirectTo, Reply
from tests.integration.cli.program import Program
from tests.integration.failure.lanes import sampled

USERS = {"ann": "her password"}
FOREIGN = "tokens.elsewhere.example"


@pytest.fixture
def image(entrepot: Program, mock: MockRegistry) -> MockImage:
    """An image in the registry and in the layout `local`; ann's login is kept."""
    image = mock.add_image("tests/one", "1.0", layers=1)
    entrepot("pull", "-q", image.reference, "oci:local:1.0")
    sent = base64.b64encode(b"ann:her password").decode()
    file = entrepot.folder / ".docker" / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"auths": {mock.host: {"auth": sent}}}))
    return image


def basic(mock: MockRegistry) -> None:
    mock.require_basic(USERS)


def bearer(mock: MockRegistry) -> None:
    mock.require_token("plain", users=USERS)


Guarded = Callable[[MockRegistry], None]
GUARDS = pytest.mark.parametrize("guard", [basic, bearer])


@GUARDS
@pytest.mark.parametrize("status", sampled([307, 301, 302, 303, 308], 5))
def test_blobs_and_manifests_that_are_elsewhere(
    entrepot: Program, mock: MockRegistry, image: MockImage, guard: Guarded, status: int
) -> None:
    guard(mock)
    storage = mock.other_origin(refuse_authorization=True)
    away = RedirectTo(storage, status)
    mock.fault(away, method="GET", path="/v2/*/blobs/sha256:*", times=None)
    mock.fault(away, path="/v2/*/manifests/*", times=None)
    entrepot("pull", "-q", image.reference, "oci:out:1.0")
    assert len(storage.requests) >= 3
    assert all(one.authorization is None for one in storage.requests)
    assert any(one.authorization for one in mock.requests)


@GUARDS
def test_uploads_that_are_elsewhere(
    entrepot: Program, mock: MockRegistry, image: MockImage, guard: Guarded
) -> None:
    guard(mock)
    storage = mock.other_origin()
    storage.uploads.open = mock.uploads.open

    async def moved(exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        location = reply.header("location") or ""
        return reply.but("Location", location.replace(mock.url, storage.url))

    mock.fault(moved, method="POST", path="/v2/*/blobs/uploads/*", times=None)
    entrepot("push", "-q", "oci:local:1.0", f"{mock.host}/tests/two:1.0")
    assert storage.matching("PUT", "*/uploads/*")
    assert all(one.authorization is None for one in storage.requests)


def test_a_copy_keeps_each_login_to_its_registry(
    entrepot: Program, mock: MockRegistry, image: MockImage
) -> None:
    mock.require_token("plain", users=USERS)
    with MockRegistry() as other:
        entrepot("cp", "-q", image.reference, f"{other.host}/tests/two:1.0")
        assert all(one.authorization is None for one in other.requests)
        assert not [one for one in other.requests if "her" in str(one.query)]


@pytest.mark.parametrize("realm", [f"https://{FOREIGN}/token", f"http://{FOREIGN}/token"])
def test_a_foreign_realm_gets_no_login(
    entrepot: Program, mock: MockRegistry, image: MockImage, realm: str
) -> None:
    """It would have to be looked up by name, which ends in another error: so it was not asked."""
    challenge = f'Bearer realm="{realm}",service="x",scope="repository:tests/one:pull"'
    mock.fault(Challenge(challenge), path="/v2/*", times=None)
    words = ("push", "-q", "oci:local:1.0", f"{mock.host}/tests/two:1.0", "--retries", "0")
    refused = entrepot(*words, expect=3)
    assert f"--allow-realm {FOREIGN}" in refused.err
    asked = entrepot(*words, "--allow-realm", FOREIGN, expect=1)
    assert FOREIGN in asked.err
    assert "--allow-realm" not in asked.err


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "http://169.254.169.254/token", "//x", ""])
def test_a_realm_that_is_no_server_is_not_asked(
    entrepot: Program, mock: MockRegistry, image: MockImage, realm: str
) -> None:
    mock.fault(Challenge(f'Bearer realm="{realm}",service="x"'), path="/v2/*", times=None)
    done = entrepot("pull", "-q", image.reference, "oci:out:1.0", "--retries", "0", expect=3)
    assert len([line for line in done.err.splitlines() if line.startswith("error: ")]) == 1
    assert not [one for one in mock.requests if one.scheme]


def test_a_realm_that_redirects_elsewhere_sends_no_login_there(
    entrepot: Program, mock: MockRegistry, image: MockImage
) -> None:
    tokens = mock.require_token("plain", users=USERS)
    other = mock.other_origin()
    tokens.fault(RedirectTo(f"{other.url}/token"), times=None)
    entrepot("pull", "-q", image.reference, "oci:out:1.0", "--retries", "0", expect=1)
    assert all(one.authorization is None for one in other.requests)
