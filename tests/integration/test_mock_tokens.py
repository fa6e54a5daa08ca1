"""The mock registry asks for credentials in every manner there is, and checks what it gets."""

import base64
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from entrepot.testing import MockImage, MockRegistry, Status, TokenServer
from entrepot.testing.mock_presets import PRESETS
from entrepot.testing.mock_tokens import FLAVOURS
from tests.http_client import Client, Response

NAME = "tests/tokens"
USERS = {"ann": "her password"}
PULL, PUSH = f"repository:{NAME}:pull", f"repository:{NAME}:pull,push"


@pytest.fixture
def registry() -> Iterator[MockRegistry]:
    with MockRegistry() as registry:
        yield registry


@pytest.fixture
def image(registry: MockRegistry) -> MockImage:
    return registry.add_image(NAME)


@pytest.fixture
def client(registry: MockRegistry) -> Iterator[Client]:
    with Client("127.0.0.1", registry.port, timeout=5) as client:
        yield client


def basic(user: str = "ann", password: str = USERS["ann"]) -> dict[str, str]:
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {credentials}"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def get_token(tokens: TokenServer, scope: str, **headers: str) -> Response:
    """Ask for a token as most clients do."""
    query = urlencode({"service": tokens.flavour.service, "scope": scope}, quote_via=quote)
    if tokens.flavour.query:
        query += f"&{tokens.flavour.query}"
    with Client("127.0.0.1", tokens.origin.port, timeout=5) as client:
        return client.get(f"{tokens.flavour.path}?{query}", headers)


def post_token(tokens: TokenServer, **form: str) -> Response:
    """Ask for a token as OAuth2 has it."""
    form = {"client_id": "tests", "service": tokens.flavour.service, **form}
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    with Client("127.0.0.1", tokens.origin.port, timeout=5) as client:
        return client.post(tokens.flavour.path, urlencode(form).encode(), kind)


def test_basic_lets_known_users_in(registry: MockRegistry, client: Client) -> None:
    registry.require_basic(USERS, realm='the "mock"')
    refused = client.get("/v2/")
    assert refused.status == 401
    assert refused.all("www-authenticate") == ['Basic realm="the \\"mock\\""']
    assert client.get("/v2/", basic()).status == 200
    assert client.get("/v2/", basic(password="wrong")).status == 401
    assert client.get("/v2/", {"Authorization": "Basic %%%"}).status == 401
    assert {"her password", basic()["Authorization"][6:]} <= registry.secrets


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_token_opens_what_its_scope_says(
    registry: MockRegistry, client: Client, image: MockImage, elsewhere: bool
) -> None:
    tokens = registry.require_token(users=USERS, elsewhere=elsewhere)
    assert (tokens.origin is registry) is not elsewhere
    asked = client.get(image.path)
    realm = f'Bearer realm="{tokens.realm}",service="mock registry",scope="{PULL}"'
    assert (asked.status, asked.all("www-authenticate")) == (401, [realm])
    token = get_token(tokens, PULL).json()["token"]
    assert client.get(image.path, bearer(token)).body == image.manifest
    assert client.get("/v2/", bearer(token)).status == 200
    assert token in registry.secrets
    assert len(tokens.requests) == 1
    refused = client.post(f"/v2/{NAME}/blobs/uploads/", None, bearer(token))
    told = f'scope="{PUSH}",error="insufficient_scope"'
    assert refused.all("www-authenticate") == [f"{realm.rpartition(',')[0]},{told}"]
    token = get_token(tokens, PUSH, **basic()).json()["token"]
    assert client.post(f"/v2/{NAME}/blobs/uploads/", None, bearer(token)).status == 202
    assert client.get("/v2/_catalog", bearer(token)).status == 401
    everything = get_token(tokens, "registry:catalog:*", **basic()).json()["token"]
    assert client.get("/v2/_catalog", bearer(everything)).status == 200


def test_anonymous_users_only_pull(registry: MockRegistry, client: Client) -> None:
    tokens = registry.require_token(users=USERS)
    token = get_token(tokens, PUSH).json()["token"]
    assert client.post(f"/v2/{NAME}/blobs/uploads/", None, bearer(token)).status == 401
    assert get_token(tokens, PULL, **basic(password="wrong")).status == 401


def test_what_users_may_is_the_tests_to_say(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    tokens = registry.require_token(users=USERS, may=lambda user, name: "pull" if user else "")
    assert client.get(image.path, bearer(get_token(tokens, PULL).json()["token"])).status == 401
    token = get_token(tokens, PUSH, **basic()).json()["token"]
    assert client.get(image.path, bearer(token)).status == 200
    assert client.post(f"/v2/{NAME}/blobs/uploads/", None, bearer(token)).status == 401


def test_a_mount_needs_pull_on_its_source(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    tokens = registry.require_token(users=USERS)
    path = f"/v2/other/blobs/uploads/?mount={image.layers[0].digest}&from={NAME}"
    token = get_token(tokens, "repository:other:pull,push", **basic()).json()["token"]
    assert client.post(path, None, bearer(token)).status == 202
    both = get_token(tokens, f"repository:other:pull,push {PULL}", **basic()).json()["token"]
    assert client.post(path, None, bearer(both)).status == 201


def test_expired_tokens_are_refused(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    tokens = registry.require_token()
    token = get_token(tokens, PULL).json()["token"]
    tokens.expire()
    refused = client.get(image.path, bearer(token))
    assert 'error="invalid_token"' in str(refused.header("www-authenticate"))
    ended = registry.require_token(lifetime=0)
    token = get_token(ended, PULL).json()["token"]
    assert client.get(image.path, bearer(token)).status == 401


def test_oauth2_gives_tokens_for_passwords_and_identity_tokens(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    tokens = registry.require_token("oauth2", users=USERS)
    form = {"grant_type": "password", "username": "ann", "password": USERS["ann"], "scope": PUSH}
    assert "refresh_token" not in post_token(tokens, **form).json()
    granted = post_token(tokens, **form, access_type="offline").json()
    assert granted["scope"] == PUSH
    assert client.get(image.path, bearer(granted["access_token"])).status == 200
    identity = granted["refresh_token"]
    again = {"grant_type": "refresh_token", "refresh_token": identity, "scope": PULL}
    token = post_token(tokens, **again).json()["access_token"]
    assert client.get(image.path, bearer(token)).status == 200
    assert {identity, token} <= registry.secrets
    assert post_token(tokens, **again | {"refresh_token": "wrong"}).status == 401
    assert post_token(tokens, **form | {"password": "wrong"}).status == 401
    assert post_token(tokens, **form, client_id="").status == 400
    earlier = tokens.identity_token("ann")
    assert post_token(tokens, **again | {"refresh_token": earlier}).status == 200


def parameters(challenge: str) -> dict[str, str]:
    """Read the quoted parameters of a challenge, names in lower case."""
    found = re.findall(r'(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"', challenge)
    return {name.lower(): re.sub(r"\\(.)", r"\1", value) for name, value in found}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_flavour_leads_to_a_token(
    registry: MockRegistry, client: Client, image: MockImage, flavour: str
) -> None:
    tokens = registry.require_token(flavour, users=USERS)
    base = client.get("/v2/")
    lines = client.get(image.path if tokens.flavour.open_base else "/v2/").all("www-authenticate")
    assert base.status == (200 if tokens.flavour.open_base else 401)
    (challenge,) = [line for line in lines if "bearer" in line.lower()]
    told = parameters(challenge[challenge.lower().index("bearer") :].partition(", Basic")[0])
    assert told["realm"].partition("?") == (
        tokens.realm,
        "?" if tokens.flavour.query else "",
        tokens.flavour.query,
    )
    assert told["service"] == tokens.flavour.service
    if tokens.flavour.get_refused:
        form = {"username": "ann", "password": USERS["ann"], "scope": PULL}
        granted = post_token(tokens, grant_type="password", **form)
    else:
        granted = get_token(tokens, PULL, **basic())
    document = granted.json()
    assert set(tokens.flavour.fields) <= set(document)
    token = document[tokens.flavour.fields[0]]
    if flavour != "short-lived":
        assert client.get(image.path, bearer(token)).status == 200


ODD: list[tuple[str, dict[str, Any]]] = [
    ("get-only-400", {"post": 400}),
    ("get-only-401", {"post": 401}),
    ("get-only-404", {"post": 404}),
    ("get-only-405", {"post": 405}),
    ("oauth2-only", {"get": 405, "post": 200}),
    ("identity", {"post": 400}),
    ("no-anonymous", {"anonymous": 401}),
    ("expired-pat", {"wrong": 403, "anonymous": 200}),
]


@pytest.mark.parametrize(("flavour", "expected"), ODD)
def test_flavours_refuse_what_they_do_not_speak(
    registry: MockRegistry, flavour: str, expected: dict[str, int]
) -> None:
    tokens = registry.require_token(flavour, users=USERS)
    form = {"username": "ann", "password": USERS["ann"], "scope": PULL}
    ways = {
        "post": lambda: post_token(tokens, grant_type="password", **form),
        "get": lambda: get_token(tokens, PULL, **basic()),
        "anonymous": lambda: get_token(tokens, PULL),
        "wrong": lambda: get_token(tokens, PULL, **basic(password="wrong")),
    }
    assert {way: ways[way]().status for way in expected} == expected


def test_a_registry_may_hide_where_tokens_are(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    registry.require_token("no-challenge")
    assert client.get(image.path).header("www-authenticate") is None
    assert client.get("/v2/").header("www-authenticate") is not None


def test_a_good_token_may_be_denied(registry: MockRegistry, client: Client) -> None:
    tokens = registry.require_token("denied-403")
    token = get_token(tokens, PULL).json()["token"]
    denied = client.post(f"/v2/{NAME}/blobs/uploads/", None, bearer(token))
    assert (denied.status, denied.json()["errors"][0]["code"]) == (403, "DENIED")


def test_realms_fail_as_any_server(registry: MockRegistry) -> None:
    tokens = registry.require_token(elsewhere=True)
    tokens.fault(Status(429, {"Retry-After": "1"}), Status(500))
    assert get_token(tokens, PULL).header("retry-after") == "1"
    assert get_token(tokens, PULL).status == 200


def test_a_wrong_service_is_seen(registry: MockRegistry) -> None:
    tokens = registry.require_token("quoted-service")
    assert get_token(tokens, PULL).status == 200
    with Client("127.0.0.1", registry.port, timeout=5) as client:
        assert client.get(f"{tokens.flavour.path}?service=the").status == 400


@pytest.mark.parametrize("name", PRESETS)
def test_an_image_is_read_from_every_preset(
    registry: MockRegistry, client: Client, image: MockImage, name: str
) -> None:
    preset = registry.preset(name, users=USERS)
    authorization: dict[str, str] = {}
    if preset.tokens is not None:
        assert client.get("/v2/").status == 401
        authorization = bearer(get_token(preset.tokens, PULL, **basic()).json()["token"])
    elif preset.manners.basic:
        assert client.get("/v2/").status == 401
        authorization = basic()
    blob = client.get(image.blob_path(1), authorization)
    if preset.manners.redirect:
        assert blob.status == preset.manners.redirect
        place = urlsplit(str(blob.header("location")))
        assert bool(place.netloc) is not preset.manners.relative
        with Client("127.0.0.1", place.port or registry.port, timeout=5) as away:
            blob = away.get(f"{place.path}?{place.query}")
    assert len(blob.body) == image.layers[0].size
    manifest = client.get(image.path, authorization)
    assert manifest.status == (307 if preset.manners.redirect_manifests else 200)
    upload = client.post(f"/v2/{NAME}/blobs/uploads/", None, authorization)
    assert upload.status == (405 if preset.manners.read_only else 401 if preset.tokens else 202)


def test_docker_hub_counts_what_is_pulled(
    registry: MockRegistry, client: Client, image: MockImage
) -> None:
    hub = registry.preset("docker.io")
    assert hub.tokens is not None
    token = bearer(get_token(hub.tokens, PULL).json()["token"])
    for left in ("100;w=21600", "100;w=21600"):
        assert client.head(image.path, token).header("ratelimit-remaining") == left
    left = [client.get(image.path, token).header("ratelimit-remaining") for _ in range(100)]
    assert (left[0], left[-1]) == ("99;w=21600", "0;w=21600")
    assert client.get(image.path, token).status == 429
    assert client.head(image.path, token).status == 200
    registry.heal()
    assert client.get(image.path, token).status == 429
