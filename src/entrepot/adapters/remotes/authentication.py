"""Authentication: what a registry's challenges are answered with.

Nothing is sent before the registry has asked. What it asked for is remembered, so that later
requests bring it along; how it is asked for may change at any time. A stored login that is no
longer accepted does not keep anybody from what is public: a pull goes on without it, once, and
says so.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, Literal
from urllib.parse import urlsplit

from entrepot.adapters.remotes.exchange import Response
from entrepot.adapters.remotes.exchanges import field_lines
from entrepot.adapters.remotes.tokens import Question, Token, Tokens
from entrepot.oci.errors import Denied, Unauthorized
from entrepot.ports.credential_store import Credentials, CredentialStore
from entrepot.protocol.challenges import (
    Challenge,
    Scope,
    merge_scopes,
    parse_challenges,
    parse_scopes,
    render_basic,
    render_bearer,
)
from entrepot.rules.realms import kept_secure, may_ask, may_send_login

Scheme = Literal["", "basic", "bearer"]

MOST_ROUNDS: Final = 5
"""How often one request is sent again with another authorization."""

REFUSED_FOR: Final = 120.0
"""How long a login that was refused is not tried again for what may be public, in seconds."""

MOST_LOGINS: Final = 1000
"""How many repositories' logins are remembered: clients may invent any number of names."""

_PULL: Final = frozenset({"pull"})
_ANYWHERE: Final = ""


class Authentication:
    """How one registry wants to be asked, and with which logins.

    `url` is its address. `allowed_realms` are hosts (or `host:port`) of other domains that may be
    sent its login. `anonymous_fallback` lets pulls go on without a login that is refused.
    `remember_logins` off asks the store for each request. Without `answers` nothing is answered.
    """

    def __init__(
        self,
        registry: str,
        store: CredentialStore | None,
        tokens: Tokens,
        *,
        warn: Callable[[str], None],
        allowed_realms: Collection[str] = (),
        anonymous_fallback: bool = True,
        remember_logins: bool = True,
        answers: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.registry = registry
        self.scheme: Scheme = ""
        self._realm = ""
        self.service = ""
        self.url = ""
        self.tokens = tokens
        self.warn = warn
        self.anonymous_fallback = anonymous_fallback
        self._refused: dict[tuple[Credentials, str], float] = {}
        self._remember = remember_logins
        self._answers = answers
        self._clock = clock
        self._allowed_realms = frozenset(host.lower() for host in allowed_realms)
        self._store = store
        self._logins: dict[str, Credentials | None] = {}
        self._looking = asyncio.Lock()

    @property
    def realm(self) -> str:
        """Where tokens are to be had, as the registry said."""
        try:
            return kept_secure(self.url, self._realm)
        except ValueError:
            return self._realm

    def learn(self, response: Response) -> Challenge | None:
        """Remember how a response of the registry asks; return what can be answered of it.

        A token is preferred, since it may also be had without a login.
        """
        if not self._answers:
            return None
        challenges = parse_challenges(*field_lines(response, "www-authenticate"))
        for challenge in challenges:
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                self.scheme = "bearer"
                self._realm = challenge.parameters["realm"]
                self.service = challenge.parameters.get("service", "")
                return challenge
        for challenge in challenges:
            if challenge.scheme == "basic":
                self.scheme = "basic"
                return challenge
        return None

    async def login(self, repository: str) -> Credentials | None:
        """Return the login for a repository, as the store has it. Raise Unauthorized."""
        store = self._store
        if store is None:
            return None
        async with self._looking:
            if not self._remember:
                return await store.find(self.registry, repository)
            if repository in self._logins:
                found = self._logins.pop(repository)
            else:
                found = await store.find(self.registry, repository)
            self._logins[repository] = found  # who was asked for last stands last
            if len(self._logins) > MOST_LOGINS:
                del self._logins[next(iter(self._logins))]
            return found

    def refuse(self, login: Credentials, repository: str) -> None:
        """Note that a login is not accepted, for one repository or (empty) for any."""
        now = self._clock()
        self._refused = {key: until for key, until in self._refused.items() if until > now}
        self._refused[login, repository] = now + REFUSED_FOR

    def is_refused(self, login: Credentials | None, repository: str) -> bool:
        """Say whether a login was refused a short while ago."""
        if login is None or not self._refused:
            return False
        found = (self._refused.get((login, place), 0.0) for place in (repository, _ANYWHERE))
        return max(found) > self._clock()

    def realm_gets_login(self) -> bool:
        """Say whether the realm may be sent the registry's login."""
        return may_send_login(self.url, self.realm, self._allowed_realms)

    def foreign_realm(self) -> str:
        """Return what to say where it may not."""
        server = urlsplit(self.realm).netloc.rpartition("@")[2]
        return (
            f"{self.registry} wants its login to be sent to {server}, which was not done: that is "
            f"another domain, or not encrypted. If {server} is to be trusted, allow it as a realm "
            f"(--allow-realm {server})"
        )

    def require_reachable_realm(self) -> None:
        """Raise Unauthorized if the realm is nothing that can or should be asked."""
        if not may_ask(self.url, self.realm, self._allowed_realms):
            raise Unauthorized(
                f"{self.registry} names {self.realm[:200]!r} as the server of its tokens, which "
                "is no address that it may send us to: it would leave HTTPS, or lead to this "
                "machine or the network around it; whoever runs the registry must mend that"
            )


class Attempt:
    """One request on its way through a registry's challenges."""

    def __init__(self, known: Authentication, scopes: Sequence[Scope], *, reads: bool) -> None:
        self.notes: list[str] = []
        """What is worth saying if the request is refused in the end."""
        self._known = known
        self._scopes = merge_scopes(scopes)
        self._repository = next((s.name for s in scopes if s.kind == "repository"), "")
        # A pull can do without a login: what it wants may be public.
        pulls = bool(scopes) and all(scope.actions <= _PULL for scope in scopes)
        self._fallback = known.anonymous_fallback and reads and pulls
        self._login: Credentials | None = None
        self._looked_up = False
        self._asked: Question | None = None
        self._token: Token | None = None
        self._fetched_before = known.tokens.fetched
        self._sent: list[str | None] = []

    @property
    def with_login(self) -> bool:
        """Whether the last request carried a login, or a token had with one."""
        return bool(self._sent and self._sent[-1]) and self._login is not None

    async def authorization(self) -> str | None:
        """Return the Authorization to send now; None to send none.

        Raise Unauthorized, Denied, TooManyRequests or Unavailable where a token is wanted and
        none can be had.
        """
        value = await self._value()
        self._sent.append(value)
        return value

    async def challenged(self, response: Response) -> bool:
        """Say whether a 401 (or a 403 that asks for more rights) can be answered by sending the
        request again with another `authorization`."""
        known = self._known
        if len(self._sent) > MOST_ROUNDS:
            return False
        challenge = known.learn(response)
        if challenge is None and not field_lines(response, "www-authenticate") and known.scheme:
            challenge = Challenge(known.scheme)  # as it asked before
        if challenge is None or (response.status == 403 and not _asks_for_more(challenge)):
            return False
        if known.scheme == "basic":
            return await self._basic_challenged()
        return await self._bearer_challenged(challenge)

    async def _value(self) -> str | None:
        known = self._known
        if not known.scheme:
            return None
        await self._look_up()
        login = self._login
        if login is not None and login.registry_token:
            return render_bearer(login.registry_token)
        if known.scheme == "basic":
            if login is None or not (login.username or login.password):
                return None
            return render_basic(login.username, login.password)
        self._token = await self._fetch()
        return render_bearer(self._token.text)

    async def _fetch(self) -> Token:
        """Return a token for our scopes, as whoever we may be."""
        known = self._known
        known.require_reachable_realm()
        if self._login is not None and not known.realm_gets_login():
            if not self._fallback:
                raise Unauthorized(known.foreign_realm())
            known.warn(known.foreign_realm())
            self.notes.append(known.foreign_realm())
            self._login = None
        try:
            return await self._ask()
        except (Unauthorized, Denied) as refused:
            # Who does not know the login knows it for no repository; less may be one's own.
            everywhere = isinstance(refused, Unauthorized)
            if not self._go_on_without(_ANYWHERE if everywhere else self._repository):
                raise
            try:
                return await self._ask()
            except (Unauthorized, Denied):
                raise refused from None

    async def _ask(self) -> Token:
        known = self._known
        self._asked = Question(known.realm, known.service, self._scopes, self._login)
        return await known.tokens.get(self._asked)

    async def _basic_challenged(self) -> bool:
        await self._look_up()
        if self._login is None:
            return None not in self._sent
        try:
            value = await self._value()
        except Unauthorized:
            return False
        if value not in self._sent:
            return True
        return self._go_on_without(self._repository) and None not in self._sent

    async def _bearer_challenged(self, challenge: Challenge) -> bool:
        await self._look_up()
        if self._login is not None and self._login.registry_token:
            if render_bearer(self._login.registry_token) not in self._sent:
                return True
            return self._go_on_without(self._repository)
        wanted = parse_scopes(challenge.parameters.get("scope", ""))
        missing = [s for s in wanted if not any(one.covers(s) for one in self._scopes)]
        if missing:
            self._scopes = merge_scopes([*self._scopes, *missing])
            return True
        known = self._known
        if self._token is None or self._asked is None:
            return True
        if (self._asked.realm, self._asked.service) != (known.realm, known.service):
            return True
        # The token grants what is wanted and is refused. An old one may have been revoked; one
        # that was fetched for this request will not get better by asking again.
        known.tokens.forget(self._token)
        if self._token.number <= self._fetched_before:
            return True
        return self._go_on_without(self._repository)

    async def _look_up(self) -> None:
        if self._looked_up:
            return
        self._looked_up = True
        try:
            self._login = await self._known.login(self._repository)
        except Unauthorized as error:
            if not self._fallback:
                raise
            self._known.warn(f"{error.message}; going on without a login")
            self.notes.append(error.message)
        if self._fallback and self._known.is_refused(self._login, self._repository):
            self._drop_login()

    def _go_on_without(self, repository: str) -> bool:
        """Drop a login that was refused for a repository (empty: for any), if this request may
        do without; say whether."""
        if not self._fallback or self._login is None:
            return False
        self._known.refuse(self._login, repository)
        self._drop_login()
        return True

    def _drop_login(self) -> None:
        known = self._known
        known.warn(
            f"{known.registry} does not accept the stored login; going on without it. Log in "
            f"again: entrepot login {known.registry}"
        )
        self.notes.append("the stored login is not accepted")
        self._login = None


def _asks_for_more(challenge: Challenge) -> bool:
    """Say whether a challenge is about missing rights (RFC 6750, section 3.1)."""
    return challenge.parameters.get("error") == "insufficient_scope"
