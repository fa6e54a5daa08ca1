"""Authentication: what is sent to a registry that asks, and to nobody else."""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from entrepot.adapters.remotes.authentication import MOST_LOGINS
from entrepot.adapters.remotes.exchange import Request
from entrepot.adapters.remotes.session import Session
from entrepot.oci import errors
from entrepot.ports.credential_store import Credentials
from entrepot.protocol.challenges import Scope
from tests.unit.adapters.remotes.scripted_transport import (
    Answer,
    ScriptedTransport,
    Waits,
    document,
    form,
    query,
)

HOST = "registry.example"
REALM = "https://auth.registry.example/token"
PULL = (Scope.repository("a", "pull"),)
PUSH = (Scope.repository("a", "pull", "push"),)
ANN = Credentials("ann", "wonderland")
ANN_BASIC = "Basic " + base64.b64encode(b"ann:wonderland").decode()
REFUSED = document({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]})


@dataclass
class Store:
    """A credential store with one login for all, or an error."""

    login: Credentials | Exception | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def find(self, registry: str, repository: str = "") -> Credentials | None:
        self.asked.append((registry, repository))
        if isinstance(self.login, Exception):
            raise self.login
        return self.login

    async def save(self, registry: str, credentials: Credentials) -> str:
        raise NotImplementedError

    async def erase(self, registry: str) -> bool:
        raise NotImplementedError


@dataclass
class Registry:
    """A registry with a token server, as a script. What it accepts may change at any time."""

    login: Credentials | Exception | None = None
    challenges: tuple[str, ...] = (f'Bearer realm="{REALM}",service="the registry"',)
    accepts: Callable[[str | None], bool] = lambda value: value is not None
    status: int = 401
    token_server: Callable[[Request], Answer] | None = None
    expires_in: object = 300
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.transport = ScriptedTransport(self._answer)
        self.store = Store(self.login)
        self.waits = Waits()
        self.warnings: list[str] = []
        self.tokens: list[str] = []
        self.session = Session(
            HOST,
            self.transport,
            self.store,
            clock=self.waits.clock,
            sleep=self.waits.sleep,
            on_warning=self.warnings.append,
            **self.options,
        )

    async def ask(
        self, scopes: tuple[Scope, ...] = PULL, method: str = "GET", url: str = "/v2/a/tags/list"
    ) -> int:
        async with self.session.send(Request(method, url), scopes=scopes) as response:
            return response.status

    @property
    def asked(self) -> list[str]:
        """`registry` or `token`, and what was sent as Authorization."""
        return [
            f"{'token' if '/v2' not in one.url else 'registry'} {one.headers.get('authorization')}"
            for one in self.transport.requests
        ]

    @property
    def token_requests(self) -> list[Request]:
        return [one for one in self.transport.requests if "/v2" not in one.url]

    def _answer(self, request: Request) -> Answer:
        if "/v2" not in request.url:
            if self.token_server is not None:
                return self.token_server(request)
            return self.give()
        if self.accepts(request.headers.get("authorization")):
            return Answer()
        also = tuple(("WWW-Authenticate", one) for one in self.challenges)
        return Answer(self.status, {}, REFUSED.body, also)

    def give(self, **more: object) -> Answer:
        """Give a new token."""
        self.tokens.append(f"t{len(self.tokens) + 1}")
        return document({"token": self.tokens[-1], "expires_in": self.expires_in} | more)


class TestBasic:
    async def test_nothing_is_sent_or_looked_up_before_the_registry_asks(self) -> None:
        registry = Registry(ANN, accepts=lambda _: True)
        await registry.ask()
        assert registry.asked == ["registry None"]
        assert registry.store.asked == []

    async def test_it_is_remembered_once_it_was_asked_for(self) -> None:
        registry = Registry(ANN, challenges=('Basic realm="x"',))
        await registry.ask()
        await registry.ask()
        assert registry.asked == ["registry None", f"registry {ANN_BASIC}", f"registry {ANN_BASIC}"]
        assert registry.store.asked == [(HOST, "a")]
        assert registry.session.authentication == "basic"

    async def test_so_many_repositories_are_remembered_and_no_more(self) -> None:
        """Whoever invents names must not fill the memory."""
        registry = Registry(ANN, challenges=("Basic",))
        for number in (*range(MOST_LOGINS), 0, MOST_LOGINS, 0, 1):
            await registry.ask((Scope.repository(f"a{number}", "pull"),))
        # The first was used again, so the second has made room.
        asked = [name for _, name in registry.store.asked]
        assert asked == [f"a{number}" for number in (*range(MOST_LOGINS + 1), 1)]

    async def test_a_wrong_login_is_sent_once(self) -> None:
        registry = Registry(ANN, challenges=("Basic",), accepts=lambda _: False)
        with pytest.raises(errors.Unauthorized, match=f"log in again: entrepot login {HOST}"):
            await registry.ask(PUSH, "POST")
        assert registry.asked == ["registry None", f"registry {ANN_BASIC}"]

    async def test_without_a_login_the_way_to_one_is_named(self) -> None:
        registry = Registry(challenges=("Basic",))
        with pytest.raises(errors.Unauthorized, match=f"; log in: entrepot login {HOST}"):
            await registry.ask()
        assert registry.asked == ["registry None"]

    async def test_a_login_that_expired_does_not_hide_what_is_public(self) -> None:
        registry = Registry(ANN, challenges=("Basic",))
        await registry.ask()
        registry.accepts = lambda value: value is None
        await registry.ask()
        assert registry.asked[2:] == [f"registry {ANN_BASIC}", "registry None"]
        assert "does not accept the stored login" in registry.warnings[0]


class TestTokens:
    async def test_a_token_is_asked_for_with_service_and_scope_and_kept(self) -> None:
        registry = Registry(ANN)
        await registry.ask()
        await registry.ask()
        assert registry.asked == [
            "registry None", f"token {ANN_BASIC}", "registry Bearer t1", "registry Bearer t1",
        ]  # fmt: skip
        (request,) = registry.token_requests
        assert request.url.startswith(REALM + "?")
        assert query(request) == {
            "service": ["the registry"],
            "scope": ["repository:a:pull"],
            "account": ["ann"],
            "client_id": ["entrepot"],
        }

    async def test_anybody_gets_a_token_without_a_login(self) -> None:
        registry = Registry()
        await registry.ask()
        assert registry.asked == ["registry None", "token None", "registry Bearer t1"]

    async def test_several_scopes_are_repeated(self) -> None:
        registry = Registry()
        await registry.ask((*PUSH, Scope.repository("b", "pull")))
        assert query(registry.token_requests[0])["scope"] == [
            "repository:a:pull,push",
            "repository:b:pull",
        ]

    async def test_a_wider_token_serves_narrower_requests(self) -> None:
        registry = Registry()
        await registry.ask(PUSH)
        await registry.ask(PULL)
        await registry.ask((Scope.repository("b", "pull"),))
        assert len(registry.token_requests) == 2

    async def test_a_realm_keeps_its_own_query(self) -> None:
        registry = Registry(challenges=(f'Bearer realm="{REALM}?tenant=7#x",service="s"',))
        await registry.ask()
        assert query(registry.token_requests[0])["tenant"] == ["7"]

    @pytest.mark.parametrize("name", ["token", "access_token"])
    async def test_a_token_has_two_names(self, name: str) -> None:
        registry = Registry(token_server=lambda _: document({name: "abc"}))
        await registry.ask()
        assert registry.asked[-1] == "registry Bearer abc"

    @pytest.mark.parametrize(
        ("expires_in", "kept", "gone"),
        [(300, 289, 291), (None, 49, 51), ("300", 289, 291), (5, 3.9, 4.1), (-1, 49, 51)],
    )
    async def test_a_token_is_renewed_shortly_before_it_expires(
        self, expires_in: object, kept: float, gone: float
    ) -> None:
        registry = Registry(expires_in=expires_in)
        await registry.ask()
        registry.waits.now += kept
        await registry.ask()
        assert len(registry.token_requests) == 1
        registry.waits.now += gone - kept
        await registry.ask()
        assert registry.asked[-1] == "registry Bearer t2"

    @pytest.mark.parametrize(
        ("date", "used"),
        [
            ("Thu, 01 Jan 1970 00:03:20 GMT", 89),  # issued 200 s ago, by the server's own clock
            ("Thu, 01 Jan 1970 02:00:00 GMT", 289),  # longer ago than it lives: a wrong clock
            ("", 289),  # ours is days ahead of theirs
        ],
    )
    async def test_the_age_of_a_token_is_told_by_the_servers_clock(
        self, date: str, used: float
    ) -> None:
        issued = {"issued_at": "1970-01-01T00:00:00Z"}
        registry = Registry()
        registry.token_server = lambda _: Answer(200, {"Date": date}, registry.give(**issued).body)
        await registry.ask()
        registry.waits.now += used
        await registry.ask()
        assert len(registry.token_requests) == 1
        registry.waits.now += 3
        await registry.ask()
        assert len(registry.token_requests) == 2

    async def test_many_requests_wait_for_one_token_and_the_first_may_be_cancelled(self) -> None:
        registry = Registry()
        await registry.ask()
        registry.waits.now += 1000
        first = asyncio.create_task(registry.ask())
        others = [asyncio.create_task(registry.ask()) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.gather(*others) == [200] * 5
        assert len(registry.token_requests) == 2

    async def test_a_token_that_was_revoked_is_replaced_once(self) -> None:
        registry = Registry()
        await registry.ask()
        registry.accepts = lambda value: value == "Bearer t2"
        await registry.ask()
        assert registry.asked[3:] == ["registry Bearer t1", "token None", "registry Bearer t2"]

    async def test_a_fresh_token_that_is_refused_is_the_end(self) -> None:
        registry = Registry(ANN, accepts=lambda _: False)
        with pytest.raises(errors.Unauthorized):
            await registry.ask(PUSH, "POST")
        assert registry.asked == ["registry None", f"token {ANN_BASIC}", "registry Bearer t1"]

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_registry_that_wants_more_gets_a_wider_token_once(self, status: int) -> None:
        registry = Registry()
        await registry.ask()
        registry.challenges = (
            f'Bearer realm="{REALM}",service="the registry",'
            'scope="repository:a:pull,push",error="insufficient_scope"',
        )
        registry.status = status
        registry.accepts = lambda value: value == "Bearer t2"
        await registry.ask()
        assert query(registry.token_requests[1])["scope"] == ["repository:a:pull,push"]
        registry.accepts = lambda _: False
        sent = len(registry.transport.requests)
        with pytest.raises(errors.RegistryError):
            await registry.ask()
        assert len(registry.transport.requests) - sent < 6

    async def test_a_registry_that_wants_ever_more_is_left(self) -> None:
        registry = Registry()

        def refuse(value: str | None) -> bool:
            name = f"repository:x{len(registry.tokens)}:pull"
            registry.challenges = (f'Bearer realm="{REALM}",scope="{name}"',)
            return False

        registry.accepts = refuse
        with pytest.raises(errors.Unauthorized):
            await registry.ask()
        assert len(registry.transport.requests) < 20

    async def test_the_scheme_may_change(self) -> None:
        registry = Registry(ANN)
        await registry.ask()
        registry.challenges = ("Basic",)
        registry.accepts = lambda value: value == ANN_BASIC
        await registry.ask()
        assert registry.session.authentication == "basic"

    async def test_a_registry_token_is_sent_as_it_is(self) -> None:
        registry = Registry(Credentials(registry_token="rt"))
        await registry.ask()
        assert registry.asked == ["registry None", "registry Bearer rt"]

    async def test_a_refusal_without_a_challenge_is_asked_about_at_the_base(self) -> None:
        """gcr.io says only at `/v2/` what it wants."""
        registry = Registry()

        def answer(request: Request) -> Answer:
            reply = Registry._answer(registry, request)
            base = request.url.endswith("/v2/")
            return reply if reply.status == 200 or base else Answer(401)

        registry.transport.script = answer
        await registry.ask()
        assert registry.asked == [
            "registry None", "registry None", "token None", "registry Bearer t1",
        ]  # fmt: skip
        registry.accepts = lambda value: value == "Bearer t2"
        await registry.ask()

    async def test_a_namespace_has_a_login_of_its_own(self) -> None:
        registry = Registry(ANN)
        await registry.ask()
        await registry.ask((Scope.repository("b", "pull"), Scope.repository("a", "pull")))
        assert registry.store.asked == [(HOST, "a"), (HOST, "b")]


class TestTokenServers:
    """The two ways a token is asked for, and what is done where one of them is not there."""

    async def test_an_identity_token_is_posted(self) -> None:
        registry = Registry(Credentials("ann", identity_token="it"))
        await registry.ask()
        assert [one.method for one in registry.token_requests] == ["POST"]
        assert form(registry.transport.bodies[1]) == {
            "grant_type": "refresh_token",
            "refresh_token": "it",
            "service": "the registry",
            "scope": "repository:a:pull",
            "client_id": "entrepot",
            "access_type": "online",
        }

    @pytest.mark.parametrize("status", [302, 400, 401, 404, 405])
    async def test_where_nothing_can_be_posted_it_is_got(self, status: int) -> None:
        registry = Registry(Credentials("ann", identity_token="it"))
        registry.token_server = lambda request: (
            registry.give() if request.method == "GET" else Answer(status, {"Location": "/other"})
        )
        await registry.ask()
        basic = "Basic " + base64.b64encode(b"ann:it").decode()
        assert registry.token_requests[1].headers["authorization"] == basic

    @pytest.mark.parametrize("status", [400, 404, 405])
    async def test_where_nothing_can_be_got_it_is_posted(self, status: int) -> None:
        registry = Registry(ANN)
        registry.token_server = lambda request: (
            registry.give() if request.method == "POST" else Answer(status)
        )
        await registry.ask()
        sent = form(registry.transport.bodies[2])
        assert (sent["grant_type"], sent["username"], sent["password"]) == (
            "password",
            "ann",
            "wonderland",
        )

    async def test_a_wrong_password_is_sent_once(self) -> None:
        """Accounts are locked after a few wrong passwords."""
        registry = Registry(ANN, token_server=lambda _: document({"details": "wrong"}, 401))
        with pytest.raises(errors.Unauthorized, match="the login is not accepted"):
            await registry.ask(PUSH, "POST")
        assert len(registry.token_requests) == 1

    async def test_an_identity_token_may_be_asked_for_and_replaced(self) -> None:
        registry = Registry(ANN, options={"offline": True})
        registry.token_server = lambda _: registry.give(refresh_token="it")
        await registry.ask(())
        assert query(registry.token_requests[0])["offline_token"] == ["true"]
        assert registry.session.identity_token == "it"

        registry = Registry(Credentials(identity_token="old"))
        registry.token_server = lambda _: registry.give(refresh_token="new")
        await registry.ask()
        registry.waits.now += 1000
        await registry.ask()
        posted = [form(body)["refresh_token"] for body in registry.transport.bodies if body]
        assert posted == ["old", "new"]

    async def test_a_login_that_expired_does_not_hide_what_is_public(self) -> None:
        """ghcr.io answers 403 to an expired token even for public images."""
        registry = Registry(ANN)
        registry.token_server = lambda request: (
            Answer(403) if "authorization" in request.headers else registry.give()
        )
        await registry.ask()
        await registry.ask((Scope.repository("a", "pull"),))
        assert registry.asked == [
            "registry None", f"token {ANN_BASIC}", "token None", "registry Bearer t1",
            "registry Bearer t1",
        ]  # fmt: skip
        assert len(registry.warnings) == 1

    @pytest.mark.parametrize(
        ("scopes", "method", "options"),
        [
            (PUSH, "POST", {}),
            ((), "GET", {}),
            (PULL, "GET", {"anonymous_fallback": False}),
        ],
    )
    async def test_a_push_and_a_login_do_not_go_on_without(
        self, scopes: tuple[Scope, ...], method: str, options: dict[str, Any]
    ) -> None:
        registry = Registry(ANN, options=options)
        registry.token_server = lambda request: (
            Answer(403) if "authorization" in request.headers else registry.give()
        )
        with pytest.raises(errors.Denied, match="gives no token"):
            await registry.ask(scopes, method)

    async def test_what_is_private_is_refused_for_the_login_and_not_for_its_lack(self) -> None:
        registry = Registry(ANN, token_server=lambda _: Answer(401))
        with pytest.raises(errors.Unauthorized, match="the login is not accepted"):
            await registry.ask()

    async def test_a_store_that_fails_does_not_hide_what_is_public(self) -> None:
        registry = Registry(errors.Unauthorized("docker-credential-x is not on PATH; install it"))
        await registry.ask()
        assert registry.asked[1] == "token None"
        assert "docker-credential-x" in registry.warnings[0]
        with pytest.raises(errors.Unauthorized, match="docker-credential-x"):
            await registry.ask(PUSH, "POST")

    async def test_a_server_that_is_down_for_a_moment_is_asked_again(self) -> None:
        registry = Registry()
        registry.token_server = lambda _: (
            Answer(503) if len(registry.token_requests) < 3 else registry.give()
        )
        await registry.ask()
        assert len(registry.waits.slept) == 2

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (Answer(200, {}, b"<html>Sign in</html>"), errors.Unavailable),
            (document({"token": ""}), errors.Unavailable),
            (document({"token": "a\r\nX: y"}), errors.Unauthorized),
            (document([]), errors.Unavailable),
            (Answer(404), errors.Unavailable),
            (Answer(500), errors.Unavailable),
            (Answer(429, {"Retry-After": "9999"}), errors.TooManyRequests),
            (Answer(400), errors.Unauthorized),
        ],
    )
    async def test_a_server_that_gives_no_token_is_named(
        self, answer: Answer, error: type[errors.RegistryError]
    ) -> None:
        registry = Registry(token_server=lambda _: answer)
        with pytest.raises(error):
            await registry.ask()
        with pytest.raises(errors.RegistryError) as refused:
            await registry.ask()
        assert "token" in refused.value.message


class TestRealms:
    """A login goes to the registry that asks, and to a realm that is clearly its own."""

    async def test_a_stranger_gets_no_login(self) -> None:
        realm = "https://tokens.other.example.net/t"
        registry = Registry(ANN, challenges=(f'Bearer realm="{realm}"',))
        await registry.ask()
        assert registry.asked[1] == "token None"
        assert "wants its login to be sent" in registry.warnings[0]
        with pytest.raises(errors.Unauthorized, match="allow it as a realm"):
            await registry.ask(PUSH, "POST")
        assert not [one for one in registry.asked if "Basic" in one]

    async def test_a_stranger_who_is_allowed_gets_it(self) -> None:
        registry = Registry(
            ANN,
            challenges=('Bearer realm="https://tokens.other.net:8443/t"',),
            options={"allowed_realms": ["tokens.other.net:8443"]},
        )
        await registry.ask()
        assert registry.asked[1] == f"token {ANN_BASIC}"

    async def test_an_identity_token_is_not_posted_to_a_stranger(self) -> None:
        registry = Registry(
            Credentials(identity_token="it"), challenges=('Bearer realm="https://other.net/t"',)
        )
        await registry.ask()
        assert registry.transport.bodies == [b"", b"", b""]

    async def test_a_login_does_not_follow_a_redirect_of_the_realm(self) -> None:
        registry = Registry(ANN)
        registry.token_server = lambda request: (
            Answer(307, {"Location": "https://other.net/token"})
            if request.url.startswith(REALM)
            else registry.give()
        )
        await registry.ask()
        assert registry.asked[1:3] == [f"token {ANN_BASIC}", "token None"]

    @pytest.mark.parametrize(
        "realm",
        [
            *("https://127.0.0.1/t", "https://169.254.169.254/t", "file:///etc/x", "token", ""),
            *(
                "http://10.0.0.5:8500/t",
                "https://10.0.0.5:8500/t",
                "http://auth.registry.example/token",
            ),
            *("http://metadata.google.internal/t", "https://metadata.google.internal/t"),
        ],
    )
    async def test_what_nobody_should_ask_is_not_asked(self, realm: str) -> None:
        registry = Registry(challenges=(f'Bearer realm="{realm}"',))
        with pytest.raises(errors.Unauthorized):
            await registry.ask()
        assert registry.token_requests == []

    async def test_a_registry_that_forgets_its_tls_is_asked_by_it(self) -> None:
        """Behind a proxy that ends TLS it does not know better; the login stays encrypted."""
        registry = Registry(ANN, challenges=(f'Bearer realm="http://{HOST}/token"',))
        await registry.ask()
        (asked,) = registry.token_requests
        assert asked.url.startswith(f"https://{HOST}/token?")
        assert asked.headers["authorization"] == ANN_BASIC

    async def test_a_token_stays_with_its_registry(self) -> None:
        registry = Registry(ANN)
        await registry.ask()
        with pytest.raises(errors.Unauthorized, match=r"storage\.example \(for registry"):
            await registry.ask(url="https://storage.example/v2/upload")
        assert registry.asked[-1] == "registry None"

    async def test_a_challenge_from_elsewhere_is_not_answered(self) -> None:
        registry = Registry(ANN)
        await registry.ask()
        registry.transport.script = lambda request: (
            Answer(307, {"Location": "https://cdn.example/v2/x"})
            if HOST in request.url
            else Answer(401, {"WWW-Authenticate": "Basic"})
        )
        with pytest.raises(errors.Unauthorized, match="its permission is not accepted"):
            await registry.ask()
        assert registry.asked[3:] == [
            "registry Bearer t1", "registry None", "registry Bearer t1", "registry None",
        ]  # fmt: skip
