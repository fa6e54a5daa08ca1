"""Token servers of every flavour, and the challenges that lead to them.

What a realm does wrong as any server may (401, 403, 429, 500, garbage, slowness) are faults:

    tokens = registry.require_token("get-only-405", elsewhere=True)
    tokens.fault(ServerError(500), times=2)

Source: distribution's token specification, "Token Authentication" and "OAuth2 Token
Authentication"; RFC 6750 for errors; RFC 9110, section 11 for challenges.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs

from entrepot.testing.mock_credentials import (
    Access,
    forget_mount,
    needed,
    parse_basic,
    parse_scopes,
    quoted,
    remember_users,
    render_scope,
)
from entrepot.testing.mock_exchange import Exchange, Record, Reply, What
from entrepot.testing.mock_origin import Fault, MockOrigin

May = Callable[[str, str], str]
"""What a user (empty: anonymous) may do to a repository, as `pull,push,delete`."""

BEARER: Final = "Bearer realm={realm},service={service}{more}"
"""A challenge; `more` is scope and error, each with a comma before it."""


@dataclass(frozen=True, slots=True)
class TokenFlavour:
    """How a token server speaks. Statuses that are 0 mean that it does what was asked."""

    path: str = "/token"
    query: str = ""
    """A query the realm has of its own, which must come back."""
    service: str = "mock registry"
    get_refused: int = 0
    post_refused: int = 404
    passwords_refused: int = 0
    """What POST answers to `grant_type=password`."""
    fields: tuple[str, ...] = ("token", "access_token")
    expires_in: int | None = 300
    """Seconds, as told; None tells nothing."""
    lifetime: float | None = None
    """Seconds, in truth; None is as told, or 60."""
    issued_at: int | None = 0
    """As told, in seconds from now; None tells nothing."""
    refresh: bool = False
    """Whether identity tokens are given to who asks for one."""
    anonymous: str | None = "pull"
    """What anonymous tokens allow; None gives none."""
    bad_credentials: int = 401
    challenges: tuple[str, ...] = (BEARER,)
    challenge_everywhere: bool = True
    """Off: only `/v2/` says where tokens are."""
    open_base: bool = False
    """Whether `/v2/` is 200 for everybody."""
    basic: bool = False
    """Whether name and password also work without a token."""
    denied: int = 401
    """What a good token without the right access gets."""
    check_service: bool = True
    """Whether a wrong `service` is a 400."""


_PLAIN: Final = TokenFlavour()
_ODD: Final = "beArer  ReaLM={realm} , SERVICE={service}{more}"

FLAVOURS: Final[Mapping[str, TokenFlavour]] = {
    "plain": _PLAIN,
    "get-only-400": TokenFlavour(post_refused=400),
    "get-only-401": TokenFlavour(post_refused=401),
    "get-only-404": TokenFlavour(post_refused=404),
    "get-only-405": TokenFlavour(post_refused=405),
    "oauth2": TokenFlavour(post_refused=0, refresh=True),
    "oauth2-only": TokenFlavour(post_refused=0, get_refused=405, refresh=True),
    "identity": TokenFlavour(refresh=True, post_refused=0, passwords_refused=400),
    "token-only": TokenFlavour(fields=("token",)),
    "access-token-only": TokenFlavour(fields=("access_token",)),
    "no-expiry": TokenFlavour(expires_in=None),
    "tiny-expiry": TokenFlavour(expires_in=1, lifetime=60),
    "short-lived": TokenFlavour(expires_in=300, lifetime=0.05),
    "issued-in-the-past": TokenFlavour(issued_at=-86_400),
    "issued-in-the-future": TokenFlavour(issued_at=86_400),
    "issued-never": TokenFlavour(issued_at=None),
    "no-anonymous": TokenFlavour(anonymous=None),
    "anonymous-nothing": TokenFlavour(anonymous=""),
    "denied-403": TokenFlavour(denied=403),
    "odd-service": TokenFlavour(service="SUSE Linux, Docker Registry"),
    "quoted-service": TokenFlavour(service='the "main" one, \\ or so'),
    "odd-case": TokenFlavour(service="MixedCase.Example", challenges=(_ODD,)),
    "own-query": TokenFlavour(query="tenant=7&Case=Kept"),
    "basic-first": TokenFlavour(challenges=('Basic realm="old, \\"ways\\"", ' + BEARER,)),
    "basic-last": TokenFlavour(challenges=(BEARER + ', Basic realm="old ways"',)),
    "negotiate-first": TokenFlavour(challenges=("Negotiate, NTLM YWJj==, " + BEARER,)),
    "several-headers": TokenFlavour(challenges=("Negotiate", 'Basic realm="old"', BEARER)),
    "no-challenge": TokenFlavour(challenge_everywhere=False),
    "open-base": TokenFlavour(open_base=True),
    "expired-pat": TokenFlavour(bad_credentials=403),
}
"""Token servers by name; `expired-pat` is one that knows no user but serves anonymous ones."""


@dataclass(frozen=True, slots=True)
class _Grant:
    user: str
    access: frozenset[Access]
    ends: float


@dataclass(slots=True)
class TokenServer:
    """A token server in place; its settings may be changed while it serves.

    `may` decides what users get; without it all they ask for, and what the flavour gives to
    anonymous ones.
    """

    origin: MockOrigin
    flavour: TokenFlavour
    users: Mapping[str, str] = field(repr=False)
    may: May | None = None
    _tokens: dict[str, _Grant] = field(default_factory=dict, repr=False)
    _refresh: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        remember_users(self.origin, self.users)
        self.origin.pages[self.flavour.path] = self.answer

    @property
    def realm(self) -> str:
        """Where tokens are asked for, without a query."""
        return self.origin.url + self.flavour.path

    @property
    def requests(self) -> list[Record]:
        """The requests for tokens."""
        return self.origin.matching(path=self.flavour.path)

    def fault(self, *what: What, **which: Any) -> Fault:
        """Let requests for tokens fail; `which` is as for any origin."""
        return self.origin.fault(*what, path=self.flavour.path, **which)

    def expire(self) -> None:
        """Let all tokens given so far be invalid; identity tokens stay."""
        self._tokens.clear()

    def identity_token(self, user: str) -> str:
        """Return an identity token of a user, as an earlier login would have left it."""
        made = self.origin.new_secret("identity")
        self._refresh[made] = user
        return made

    def guard(self, exchange: Exchange) -> Reply | None:
        """Refuse a request without a token that allows it."""
        request, flavour = exchange.request, self.flavour
        wanted = needed(request)
        base = request.path in ("/v2", "/v2/")
        header = request.header("authorization") or ""
        if base and flavour.open_base and not header:
            return None
        named = parse_basic(header) if flavour.basic else None
        if named is not None and self.users.get(named[0]) == named[1]:
            return None
        scheme, _, token = header.partition(" ")
        grant = self._tokens.get(token.strip()) if scheme.lower() == "bearer" else None
        error = "invalid_token" if scheme.lower() == "bearer" else ""
        if grant is not None and grant.ends > time.monotonic():
            if all(_covers(grant.access, one) for one in wanted):
                access = grant.access
                forget_mount(exchange, lambda name: _covers(access, ("repository", name, "pull")))
                return None
            if flavour.denied != 401:
                return Reply.of_error(flavour.denied, "DENIED")
            error = "insufficient_scope"
        told = flavour.challenge_everywhere or base
        lines = self.challenges(wanted, error) if told else []
        return Reply.of_error(
            401, "UNAUTHORIZED", headers=tuple(("WWW-Authenticate", line) for line in lines)
        )

    def challenges(self, wanted: frozenset[Access], error: str = "") -> list[str]:
        """Return the lines that say where a token for `wanted` is."""
        more = f",scope={quoted(render_scope(wanted))}" if wanted else ""
        more += f',error="{error}"' if error else ""
        realm = self.realm + (f"?{self.flavour.query}" if self.flavour.query else "")
        service = quoted(self.flavour.service)
        return [
            line.format(realm=quoted(realm), service=service, more=more)
            for line in self.flavour.challenges
        ]

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer a request for a token."""
        request, flavour = exchange.request, self.flavour
        for name, values in parse_qs(flavour.query).items():
            if request.parameters(name) != values:
                return Reply.of_json(400, {"details": f"{name} is missing"})
        if request.method == "GET" and not flavour.get_refused:
            asked = {name: request.parameters(name) for name, _ in request.query}
            user = self._basic_user(request.header("authorization"))
            offline = request.parameter("offline_token") == "true"
        elif request.method == "POST" and not flavour.post_refused:
            asked = parse_qs((await exchange.read_all()).decode())
            kind = asked.get("grant_type", [""])[0]
            if kind == "password" and flavour.passwords_refused:
                return Reply.of_json(flavour.passwords_refused, {"error": "unsupported_grant_type"})
            if kind not in ("password", "refresh_token") or "client_id" not in asked:
                return Reply.of_json(400, {"error": "invalid_request"})
            user = self._form_user(kind, asked)
            offline = asked.get("access_type", [""])[0] == "offline"
        else:
            status = flavour.get_refused if request.method == "GET" else flavour.post_refused
            return Reply.of_json(status or 405, {"details": "not this way"})
        if user is None or (not user and flavour.anonymous is None):
            return Reply.of_json(flavour.bad_credentials, {"details": "incorrect credentials"})
        if flavour.check_service and asked.get("service") not in ([flavour.service], None):
            return Reply.of_json(400, {"details": "no such service"})
        return self._issue(user, parse_scopes(asked.get("scope", [])), offline, request.method)

    def _basic_user(self, header: str | None) -> str | None:
        if header is None:
            return ""
        name, password = parse_basic(header) or ("", "")
        return name if self.users.get(name) == password else None

    def _form_user(self, kind: str, asked: Mapping[str, list[str]]) -> str | None:
        if kind == "refresh_token":
            token = asked.get("refresh_token", [""])[0]
            self.origin.secrets.update({token} - {""})
            return self._refresh.get(token)
        name, password = asked.get("username", [""])[0], asked.get("password", [""])[0]
        return name if self.users.get(name) == password else None

    def _issue(self, user: str, asked: frozenset[Access], offline: bool, method: str) -> Reply:
        flavour = self.flavour
        granted = frozenset(one for one in asked if self._allows(user, one))
        lifetime = flavour.lifetime
        if lifetime is None:
            lifetime = 60 if flavour.expires_in is None else flavour.expires_in
        token = self.origin.new_secret("token")
        self._tokens[token] = _Grant(user, granted, time.monotonic() + lifetime)
        told: dict[str, object] = dict.fromkeys(flavour.fields, token)
        if method == "POST":
            told |= {"access_token": token, "scope": render_scope(granted)}
        if flavour.expires_in is not None:
            told["expires_in"] = flavour.expires_in
        if flavour.issued_at is not None:
            issued = datetime.now(UTC) + timedelta(seconds=flavour.issued_at)
            told["issued_at"] = issued.isoformat().replace("+00:00", "Z")
        if flavour.refresh and offline and user:
            told["refresh_token"] = self.identity_token(user)
        return Reply.of_json(200, told)

    def _allows(self, user: str, wanted: Access) -> bool:
        kind, name, action = wanted
        if self.may is not None and kind == "repository":
            allowed = self.may(user, name)
        else:
            allowed = "pull,push,delete,*" if user else self.flavour.anonymous or ""
        return action in allowed.split(",")


def _covers(access: frozenset[Access], wanted: Access) -> bool:
    kind, name, _ = wanted
    return wanted in access or (kind, name, "*") in access
