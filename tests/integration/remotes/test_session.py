"""Sessions against every flavour of token server, every known registry's manners, and a real
registry with a password file."""

import asyncio
import io
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import structlog

from entrepot.adapters.credentials.search import GivenCredentials, find_credentials
from entrepot.adapters.remotes.exchange import Request
from entrepot.adapters.remotes.session import Session
from entrepot.adapters.remotes.transport import CurlTransport
from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.config import LogSettings
from entrepot.logs import configure
from entrepot.oci.errors import (
    CertificateRefused,
    ConnectionLost,
    Denied,
    RegistryError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from entrepot.ports.credential_store import Credentials
from entrepot.protocol.challenges import Scope
from entrepot.testing import MockRegistry
from entrepot.testing.mock_connection_faults import DropConnection, Stall, Truncate
from entrepot.testing.mock_faults import Challenge, RateLimited, RedirectLoop, RedirectTo, Status
from entrepot.testing.mock_presets import PRESETS
from entrepot.testing.mock_tokens import FLAVOURS
from tests.certificates import make_certificate
from tests.remote_registries import QUICK

NAME = "tests/one"
USERS = {"ann": "wonderland"}
ANN = Credentials("ann", "wonderland")
PULL = (Scope.repository(NAME, "pull"),)
PUSH = (Scope.repository(NAME, "pull", "push"),)


@asynccontextmanager
async def opened(
    host: str, login: Credentials | None = None, *, transport: Any = None, **options: Any
) -> AsyncIterator[Session]:
    """Open a session with a login, or none, and close it."""
    transport = transport or CurlTransport(environment={})
    store = GivenCredentials(login, find_credentials({"HOME": "/nowhere"}))
    session = Session(host, transport, store, retry_policy=QUICK, **options)
    try:
        yield session
    finally:
        await session.close()
        await transport.close()


async def pull(session: Session, tag: str = "latest") -> bytes:
    request = Request("GET", f"/v2/{NAME}/manifests/{tag}")
    async with session.send(request, scopes=PULL) as response:
        return await response.read(1 << 20)


async def start_upload(session: Session) -> int:
    request = Request("POST", f"/v2/{NAME}/blobs/uploads/", body=b"")
    async with session.send(request, scopes=PUSH) as response:
        return response.status


@pytest.fixture
def manifest(mock: MockRegistry) -> bytes:
    mock.add_image(NAME, "latest", layers=1)
    content = mock.manifest(NAME, "latest")
    assert content is not None
    return content


GIVES_NOTHING_TO_ANYBODY = {"no-anonymous", "anonymous-nothing", "oauth2-only"}


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("flavour", sorted(FLAVOURS))
async def test_every_flavour_of_token_server_is_understood(
    mock: MockRegistry, manifest: bytes, flavour: str, elsewhere: bool
) -> None:
    tokens = mock.require_token(flavour, users=USERS, elsewhere=elsewhere)
    knows = flavour != "expired-pat"
    async with opened(mock.host, ANN) as session:
        assert await pull(session) == manifest
        assert await pull(session) == manifest
        if knows:
            assert await start_upload(session) == 202
    async with opened(
        mock.host, Credentials("ann", identity_token=tokens.identity_token("ann"))
    ) as s:
        if not tokens.flavour.post_refused:
            assert await pull(s) == manifest
    async with opened(mock.host) as session:
        if flavour in GIVES_NOTHING_TO_ANYBODY:
            with pytest.raises(RegistryError):
                await pull(session)
        else:
            assert await pull(session) == manifest


@pytest.mark.parametrize("name", sorted(PRESETS))
async def test_every_known_registry_is_understood(
    mock: MockRegistry, manifest: bytes, name: str
) -> None:
    preset = mock.preset(name, users=USERS)
    image = mock.add_image(NAME, "other", layers=1)
    layer = f"/v2/{NAME}/blobs/{image.layers[0].digest}"
    async with opened(mock.host, ANN) as session:
        assert await pull(session) == manifest
        async with session.send(Request("GET", layer), scopes=PULL) as response:
            assert await response.read(1 << 30) == mock.blob(image.layers[0].digest)
        if preset.storage is not None:
            assert [one.authorization for one in preset.storage.requests] == [None] * len(
                preset.storage.requests
            )
        if name == "docker.io":
            assert session.rate_limit is not None
            assert (session.rate_limit.limit, session.rate_limit.window) == (100, 21600)


async def test_a_wrong_password_is_refused_with_the_way_out(mock: MockRegistry) -> None:
    for require in (lambda: mock.require_basic(USERS), lambda: mock.require_token(users=USERS)):
        require()
        async with opened(mock.host, Credentials("ann", "wrong")) as session:
            with pytest.raises(Unauthorized, match=f"entrepot login {mock.host}"):
                await start_upload(session)


async def test_a_token_is_fetched_once_for_many_and_renewed_when_it_expires(
    mock: MockRegistry, manifest: bytes
) -> None:
    tokens = mock.require_token(users=USERS)
    async with opened(mock.host, ANN) as session:
        await asyncio.gather(*(pull(session) for _ in range(20)))
        assert len(tokens.requests) == 1
        tokens.expire()
        await asyncio.gather(*(pull(session) for _ in range(5)))
        assert 2 <= len(tokens.requests) <= 6


async def test_who_may_only_pull_is_told_so(mock: MockRegistry, manifest: bytes) -> None:
    mock.require_token(users=USERS, may=lambda user, _: "pull")
    async with opened(mock.host, ANN) as session:
        with pytest.raises((Denied, Unauthorized)):
            await start_upload(session)
        assert await pull(session) == manifest


@pytest.mark.parametrize(
    "fault", [Status(429), Status(500), Status(503), DropConnection(), Truncate(5)], ids=repr
)
async def test_a_token_server_may_stumble(mock: MockRegistry, manifest: bytes, fault: Any) -> None:
    tokens = mock.require_token(users=USERS, elsewhere=True)
    tokens.fault(fault, times=2)
    async with opened(mock.host, ANN) as session:
        assert await pull(session) == manifest


@pytest.mark.parametrize(
    "fault",
    [Status(408), Status(429), Status(500), Status(502), Status(503), Status(504),
     RateLimited(retry_after=0), DropConnection()],
    ids=repr,
)  # fmt: skip
async def test_a_registry_may_stumble(mock: MockRegistry, manifest: bytes, fault: Any) -> None:
    mock.fault(fault, path="*/manifests/*", times=3)
    async with opened(mock.host) as session:
        assert await pull(session) == manifest


async def test_a_registry_that_is_gone_is_named(mock: MockRegistry) -> None:
    host = mock.host
    mock.stop()
    async with opened(host) as session:
        with pytest.raises(ConnectionLost, match=host.replace(".", r"\.")):
            await pull(session)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Status(401), Unauthorized),
        (Challenge("Negotiate"), Unauthorized),
        (Challenge('Bearer realm="file:///etc/passwd"'), Unauthorized),
        (Challenge('Bearer realm="http://[broken'), Unauthorized),
        (Status(403), Denied),
        (RateLimited(retry_after=7200), TooManyRequests),
        (Status(503), Unavailable),
        (RedirectLoop(), Unavailable),
    ],
    ids=count(),
)
async def test_what_stays_wrong_is_one_clear_error(
    mock: MockRegistry, fault: Any, error: type[RegistryError]
) -> None:
    mock.fault(fault, path="*/manifests/*", times=None)
    async with opened(mock.host) as session:
        with pytest.raises(error) as refused:
            await pull(session)
    assert mock.host.partition(":")[0] in refused.value.message
    assert ";" in refused.value.message


async def test_a_response_that_stands_still_can_be_left(mock: MockRegistry) -> None:
    standing = mock.fault(Stall(after_bytes=10), path="*/manifests/*")
    mock.add_image(NAME, "latest", layers=1)
    async with opened(mock.host) as session:
        task = asyncio.create_task(pull(session))
        await asyncio.to_thread(standing.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        standing.release()
        assert await pull(session)


async def test_a_login_does_not_follow_to_another_origin(
    mock: MockRegistry, manifest: bytes
) -> None:
    mock.require_basic(USERS)
    storage = mock.other_origin(refuse_authorization=True)
    mock.fault(RedirectTo(storage), path="*/manifests/*", when=_is_authorised, times=None)
    async with opened(mock.host, ANN) as session:
        assert await pull(session) == manifest
    assert [one.authorization for one in storage.requests] == [None]


async def test_an_uploads_token_is_renewed_between_its_chunks(mock: MockRegistry) -> None:
    tokens = mock.require_token("plain", users=USERS)
    async with opened(mock.host, ANN) as session:
        request = Request("POST", f"/v2/{NAME}/blobs/uploads/", body=b"")
        async with session.send(request, scopes=PUSH) as response:
            place = response.headers["location"]
        for content in (b"one", b"two"):
            tokens.expire()
            chunk = Request("PATCH", place, {"content-type": "application/octet-stream"}, content)
            async with session.send(chunk, scopes=PUSH) as response:
                assert response.status == 202
                place = response.headers["location"]
                assert response.headers["range"].endswith("-2" if content == b"one" else "-5")


@pytest.mark.real("openssl")
class TestTls:
    @pytest.fixture
    def secured(self, tmp_path: Path) -> Iterator[MockRegistry]:
        certificate = make_certificate(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        with MockRegistry(tls=context) as registry:
            registry.add_image(NAME, "latest", layers=1)
            yield registry

    async def test_loopback_speaks_tls_where_it_must(self, secured: MockRegistry) -> None:
        transport = CurlTransport(TransportSettings(verify=False), environment={})
        async with opened(secured.host, transport=transport, tls_verify=False) as session:
            assert await pull(session)
            assert session.url == f"https://{secured.host}"

    async def test_a_certificate_nobody_knows_is_the_error(self, secured: MockRegistry) -> None:
        async with opened(secured.host) as session:
            with pytest.raises(CertificateRefused):
                await pull(session)
        assert secured.matching("GET", "*/manifests/*") == []


async def test_no_secret_is_logged_and_no_warning_lost(
    mock: MockRegistry, manifest: bytes, restored_logs: None
) -> None:
    stream = io.StringIO()
    configure(LogSettings(level="debug", format="json"), stream)
    tokens = mock.require_token("oauth2", users=USERS, elsewhere=True)
    identity = Credentials("ann", identity_token=tokens.identity_token("ann"))
    for login in (ANN, identity, Credentials("ann", "wr0ng-password")):
        async with opened(mock.host, login, debug=True, offline=True) as session:
            assert await pull(session) == manifest
            if login.password != "wr0ng-password":
                await start_upload(session)
    log = stream.getvalue()
    assert log.count('"exchange"') > 10
    assert mock.secrets | tokens.origin.secrets
    for secret in mock.secrets | tokens.origin.secrets | {"wr0ng-password"}:
        assert secret not in log


@pytest.fixture
def restored_logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def _is_authorised(request: Any) -> bool:
    return request.header("authorization") is not None
