"""No secret is in any output, whatever is asked, goes wrong and is logged with `--debug`:
passwords, tokens, signatures of URLs, however they are written."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from entrepot.testing import (
    DropConnection,
    Exchange,
    MockImage,
    MockRegistry,
    RedirectTo,
    Reply,
    ServerError,
    Status,
)
from entrepot.testing.mock_presets import PRESETS
from entrepot.testing.mock_tokens import FLAVOURS
from tests.integration.cli.program import Done, Program
from tests.integration.failure.lanes import sampled
from tests.integration.failure.quick_program import QuickProgram
from tests.integration.remotes.egress_proxies import CREDENTIALS, NAME, PASSWORD, microsocks, squid

USERS = {"ann": 'pass/+ "word" &=%41 ü'}


def forms(secret: str) -> set[str]:
    """Return the ways in which a secret may be written."""
    sent = base64.b64encode(secret.encode()).decode()
    return {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), sent} | {
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    }


def assert_none_shown(done: Done, secrets: Iterable[str]) -> None:
    shown = done.out + done.err
    assert '"exchange"' in shown or '"no answer"' in shown
    known = {form for secret in secrets if secret for form in forms(secret)}
    assert known
    found = [form for form in known if form in shown]
    lines = [line for line in shown.splitlines() for form in found if form in line]
    assert not found, lines[:3]


def remember(folder: Path, registry: MockRegistry, *, identity: str = "") -> None:
    """Keep ann's login, as docker does."""
    sent = base64.b64encode(f"ann:{USERS['ann']}".encode()).decode()
    entry = {"auth": base64.b64encode(b"ann:").decode(), "identitytoken": identity}
    file = folder / ".docker" / "config.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"auths": {registry.host: entry if identity else {"auth": sent}}}))


@pytest.fixture
def quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> QuickProgram:
    return QuickProgram(tmp_path, monkeypatch, capsys)


@pytest.fixture
def image(mock: MockRegistry, quick: QuickProgram) -> MockImage:
    """An image in the registry, and in the layout `local`."""
    image = mock.add_image("tests/one", "1.0", layers=1)
    assert quick("pull", "-q", image.reference, "oci:local:1.0").code == 0
    return image


def carry(quick: QuickProgram, mock: MockRegistry, image: MockImage) -> list[Done]:
    """Pull, push and copy, log everything, and look at it; return what was done."""
    other = f"{mock.host}/tests/two"
    done = [
        quick("pull", image.reference, "oci:out:1.0", "--debug"),
        quick("push", "oci:local:1.0", f"{other}:pushed", "--debug"),
        quick("cp", image.reference, f"{other}:copied", "--debug"),
        quick("tags", other, "--debug"),
    ]
    for one in done:
        assert_none_shown(one, mock.secrets)
    return done


@pytest.mark.parametrize("flavour", sampled(FLAVOURS, 5))
def test_tokens(quick: QuickProgram, mock: MockRegistry, image: MockImage, flavour: str) -> None:
    tokens = mock.require_token(flavour, users=USERS, elsewhere=flavour == "oauth2")
    identity = tokens.identity_token("ann") if flavour == "identity" else ""
    remember(quick.folder, mock, identity=identity)
    storage = mock.other_origin(refuse_authorization=True)
    mock.fault(RedirectTo(storage), method="GET", path="/v2/*/blobs/sha256:*", times=None)
    done = carry(quick, mock, image)
    if flavour != "short-lived":
        assert [one.code for one in done] == [0, 0, 0, 0], done[0].err[-500:]
    assert "***" in done[0].err


@pytest.mark.parametrize("preset", sampled(PRESETS, 4))
def test_public_registries(
    quick: QuickProgram, mock: MockRegistry, image: MockImage, preset: str
) -> None:
    mock.preset(preset, users=USERS)
    remember(quick.folder, mock)
    done = carry(quick, mock, image)
    assert done[0].code == 0, done[0].err[-500:]


def test_basic(quick: QuickProgram, mock: MockRegistry, image: MockImage) -> None:
    mock.require_basic(USERS)
    remember(quick.folder, mock)
    assert [one.code for one in carry(quick, mock, image)] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "what", [Status(401), Status(403), ServerError(500), DropConnection()], ids=str
)
@pytest.mark.parametrize("where", ["tokens", "storage", "blobs"])
def test_failures(
    quick: QuickProgram, mock: MockRegistry, image: MockImage, what: Status, where: str
) -> None:
    tokens = mock.require_token("oauth2", users=USERS, elsewhere=True)
    storage = mock.other_origin()
    mock.fault(RedirectTo(storage), method="GET", path="/v2/*/blobs/sha256:*", times=None)
    remember(quick.folder, mock)
    if where == "tokens":
        tokens.fault(what, times=None)
    else:
        (storage if where == "storage" else mock).fault(what, path="*/sha256*", times=None)
    done = carry(quick, mock, image)
    assert done[0].code != 0
    assert "Traceback" in done[0].err


def test_errors_that_quote_what_was_sent(
    quick: QuickProgram, mock: MockRegistry, image: MockImage
) -> None:
    """Object stores answer with the URL that they refuse, gateways with header fields."""
    storage = mock.other_origin()

    async def signed(exchange: Exchange) -> Reply:
        secrets = [mock.new_secret(kind) for kind in ("signature", "credential", "session")]
        query = "X-Amz-Signature={}&X-Amz-Credential={}&X-Amz-Security-Token={}".format(*secrets)
        return Reply.of(307, b"", {"Location": f"{storage.url}/bucket/object?{query}"})

    async def quoting(exchange: Exchange) -> Reply:
        request = exchange.request
        query = "&".join(f"{name}={value}" for name, value in request.query)
        text = f"no access to {storage.url}{request.path}?{query}"
        return Reply.of(403, text.encode())

    async def echoing(exchange: Exchange) -> Reply:
        sent = exchange.request.header("authorization")
        return Reply.of_error(403, "DENIED", f"bad header Authorization: {sent}")

    mock.require_token("plain", users=USERS)
    remember(quick.folder, mock)
    mock.fault(signed, method="GET", path="/v2/*/blobs/sha256:*", times=None)
    storage.fault(quoting, times=None)
    done = quick("pull", image.reference, "oci:out:1.0", "--debug")
    assert done.code == 3
    assert_none_shown(done, mock.secrets)
    mock.heal()
    mock.fault(
        echoing, path="*/manifests/*", times=None, when=lambda it: bool(it.header("authorization"))
    )
    done = quick("pull", image.reference, "oci:out:1.0", "--debug")
    assert done.code == 3
    assert_none_shown(done, mock.secrets)


@pytest.mark.parametrize("flavour", sampled(["plain", "oauth2", "identity", "expired-pat"], 4))
@pytest.mark.parametrize("right", [True, False], ids=["right password", "wrong password"])
def test_login(
    entrepot: Program, mock: MockRegistry, image: MockImage, flavour: str, right: bool
) -> None:
    mock.require_token(flavour, users=USERS)
    password = USERS["ann"] if right else 'wrong/+"pass"'
    words = ("login", "--debug", "-u", "ann", "--password-stdin", mock.host)
    done = entrepot(*words, input=f"{password}\n", expect=0 if right else 3)
    assert_none_shown(done, {*mock.secrets, password})


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_a_dead_proxy(quick: QuickProgram, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = f"{scheme}://{CREDENTIALS}@127.0.0.1:1"
    secrets = {PASSWORD, CREDENTIALS, f"{NAME}:{PASSWORD}"}
    words = ("digest", "registry.example/tests/one:1.0", "--retries", "0", "--debug")
    done = quick(*words, "--proxy", proxy)
    assert done.code == 1
    assert "127.0.0.1:1" in done.err
    assert_none_shown(done, secrets)
    monkeypatch.setenv("https_proxy", proxy)
    done = quick(*words)
    assert done.code == 1
    assert_none_shown(done, secrets)


@pytest.mark.real("squid", "microsocks")
@pytest.mark.parametrize("kind", ["squid", "microsocks"])
@pytest.mark.parametrize("right", [True, False], ids=["let in", "refused"])
def test_a_proxy_with_an_account(
    quick: QuickProgram, mock: MockRegistry, image: MockImage, kind: str, right: bool
) -> None:
    credentials = CREDENTIALS if right else CREDENTIALS.replace("ret", "wrong")
    secret = PASSWORD if right else PASSWORD.replace("ret", "wrong")
    with squid(account=True) if kind == "squid" else microsocks(account=True) as proxy:
        scheme = "http" if kind == "squid" else "socks5"
        url = f"{scheme}://{credentials}@{proxy.host}"
        done = quick("pull", image.reference, "oci:out", "--proxy", url, "--debug")
        assert (done.code == 0) == right, done.err[-800:]
    assert_none_shown(done, {secret, credentials, f"{NAME}:{secret}"})
