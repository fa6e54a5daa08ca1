"""Bearer tokens: fetched from the realm that a registry names, kept until shortly before they
expire, and fetched once however many requests wait for them.

Two ways are spoken: distribution's `GET realm?service=…&scope=…` with a Basic login or none, and
OAuth2's POST. An identity token goes by POST first, a password by GET first, as most clients do
it; whichever a server does not have is answered by the other.
Source: distribution, "Token Authentication Specification" and "Oauth2 Token Authentication".
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlencode, urlsplit

from entrepot.adapters.remotes.exchange import Request
from entrepot.adapters.remotes.exchanges import Settled
from entrepot.adapters.remotes.refusals import told
from entrepot.adapters.remotes.retries import asked_pause
from entrepot.oci.errors import (
    Denied,
    RegistryError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from entrepot.ports.credential_store import Credentials
from entrepot.protocol.challenges import Scope, render_basic, render_bearer

CLIENT_ID: Final = "entrepot"

DEFAULT_LIFETIME: Final = 60.0
"""How long a token is valid whose server does not say, in seconds; the specification's."""

MAX_ANSWER: Final = 1024 * 1024

_MARGIN: Final = 10.0
_NO_POST: Final = frozenset({400, 401, 404, 405})
_NO_GET: Final = frozenset({400, 404, 405})
_TOKEN_USER: Final = "<token>"  # noqa: S105 - what docker calls the owner of an identity token


@dataclass(frozen=True, slots=True)
class Question:
    """What a token is for, and with which login (None for anybody's) it is asked for."""

    realm: str
    service: str
    scopes: tuple[Scope, ...]
    login: Credentials | None = None

    def covers(self, other: "Question") -> bool:
        """Say whether the answer to this question answers the other."""
        same = (self.realm, self.service, self.login) == (other.realm, other.service, other.login)
        return same and all(any(one.covers(s) for one in self.scopes) for s in other.scopes)


@dataclass(frozen=True, slots=True)
class Token:
    """A token, valid until `expires` (seconds since the Unix epoch, by our clock)."""

    text: str
    expires: float
    number: int
    """The how-manieth token of its registry it is, from 1."""

    def __repr__(self) -> str:
        return f"Token(number={self.number}, expires={self.expires})"


Ask = Callable[[Request], Awaitable[Settled]]
"""Sends a request, follows its redirects, repeats it where that helps; returns any final answer."""


class Tokens:
    """The tokens of one registry. `offline` asks for identity tokens as well (for a login)."""

    def __init__(
        self, registry: str, ask: Ask, *, clock: Callable[[], float], offline: bool = False
    ) -> None:
        self.identity_token = ""
        """The last identity token that was handed back."""
        self.fetched = 0
        """How many tokens were fetched so far."""
        self._registry = registry
        self._ask = ask
        self._clock = clock
        self._offline = offline
        self._kept: dict[Question, Token] = {}
        self._fetching: dict[Question, asyncio.Task[Token]] = {}
        self._renewed: dict[str, str] = {}

    async def get(self, question: Question) -> Token:
        """Return a valid token, fetched only if none is kept that grants as much.

        Raise Unauthorized or Denied if the server gives none, TooManyRequests or Unavailable if
        it cannot now.
        """
        now = self._clock()
        kept = self._kept.get(question)
        if kept is not None and kept.expires > now:
            return kept
        self._kept = {asked: token for asked, token in self._kept.items() if token.expires > now}
        for asked, token in self._kept.items():
            if asked.covers(question):
                return token
        # A task of its own: whoever came first may be cancelled, the others still want it.
        task = self._fetching.get(question)
        if task is None:
            task = asyncio.create_task(self._fetch(question))
            self._fetching[question] = task
            task.add_done_callback(lambda done: self._fetched(question, done))
        return await asyncio.shield(task)

    def forget(self, token: Token) -> None:
        """Keep a token no longer that a registry has refused."""
        self._kept = {asked: one for asked, one in self._kept.items() if one is not token}

    async def close(self) -> None:
        """Stop fetching."""
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fetched(self, question: Question, task: asyncio.Task[Token]) -> None:
        self._fetching.pop(question, None)
        if not task.cancelled() and task.exception() is None:
            self._kept[question] = task.result()

    async def _fetch(self, question: Question) -> Token:
        asked_at = self._clock()
        answer = await self._answer(question)
        if not 200 <= answer.status < 300:
            raise _refused(self._registry, question, answer, asked_at)
        text, lifetime, refresh = _read(self._registry, question, answer, asked_at)
        if refresh:
            self.identity_token = refresh
            login = question.login
            if login is not None and login.identity_token:
                self._renewed[login.identity_token] = refresh
        self.fetched += 1
        return Token(text, asked_at + lifetime, self.fetched)

    async def _answer(self, question: Question) -> Settled:
        """Ask in the way that suits the login, and in the other where the server lacks that.

        The first refusal is about the login, the second often only about the method.
        """
        login = question.login
        if login is None:
            return await self._ask(self._get(question, None))
        basic = render_basic(login.username or _TOKEN_USER, self._current(login) or login.password)
        if login.identity_token:
            first = await self._ask(self._refresh(question, login))
            if first.status not in _NO_POST and not 300 <= first.status < 400:
                return first
            second = await self._ask(self._get(question, basic))
        else:
            first = await self._ask(self._get(question, basic))
            if first.status not in _NO_GET:
                return first
            second = await self._ask(self._password(question, login))
        return second if 200 <= second.status < 300 else first

    def _current(self, login: Credentials) -> str:
        """Return the login's identity token, or the one that came in its place."""
        secret = login.identity_token
        for _ in range(len(self._renewed)):
            secret = self._renewed.get(secret, secret)
        return secret

    def _get(self, question: Question, authorization: str | None) -> Request:
        parameters = [("service", question.service)] if question.service else []
        parameters += [("scope", str(scope)) for scope in question.scopes]
        if question.login is not None and question.login.username:
            parameters.append(("account", question.login.username))
        parameters.append(("client_id", CLIENT_ID))
        if self._offline and authorization is not None:
            parameters.append(("offline_token", "true"))
        url = urlsplit(question.realm)
        query = "&".join(part for part in (url.query, urlencode(parameters)) if part)
        headers = {"authorization": authorization} if authorization else {}
        return Request("GET", url._replace(query=query, fragment="").geturl(), headers)

    def _refresh(self, question: Question, login: Credentials) -> Request:
        secret = self._current(login)
        return self._post(question, {"grant_type": "refresh_token", "refresh_token": secret})

    def _password(self, question: Question, login: Credentials) -> Request:
        return self._post(
            question,
            {"grant_type": "password", "username": login.username, "password": login.password},
        )

    def _post(self, question: Question, grant: dict[str, str]) -> Request:
        form = grant | {
            "service": question.service,
            "scope": " ".join(map(str, question.scopes)),
            "client_id": CLIENT_ID,
            "access_type": "offline" if self._offline else "online",
        }
        body = urlencode({name: value for name, value in form.items() if value}).encode()
        url = urlsplit(question.realm)._replace(fragment="").geturl()
        return Request("POST", url, {"content-type": "application/x-www-form-urlencoded"}, body)


def _read(registry: str, question: Question, answer: Settled, now: float) -> tuple[str, float, str]:
    """Return the token, its lifetime in seconds and the identity token beside it, if any."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        document = {}
    text = next((document.get(n) for n in ("token", "access_token") if document.get(n)), None)
    if not isinstance(text, str):
        raise Unavailable(
            f"{_server(question)} answers {answer.status} without a token for {registry}; is it "
            "behind a proxy or a sign-in page? Try again later"
        )
    render_bearer(text)
    refresh = document.get("refresh_token")
    lifetime = _lifetime(document, answer, now)
    return text, lifetime, refresh if isinstance(refresh, str) else ""


def _lifetime(document: dict[str, object], answer: Settled, now: float) -> float:
    """Return for how long, in seconds, a token is to be used that was asked for just now.

    Its age is measured by the server's clock where a Date tells it; an age that cannot be true
    means that ours is wrong, and counts as none.
    """
    told_lifetime = document.get("expires_in")
    lifetime = DEFAULT_LIFETIME
    if isinstance(told_lifetime, str) and told_lifetime.isascii() and told_lifetime.isdigit():
        told_lifetime = int(told_lifetime[:12])
    if isinstance(told_lifetime, int | float) and told_lifetime > 0:
        lifetime = min(float(told_lifetime), 366 * 86400.0)
    issued = _moment(document.get("issued_at"))
    if issued is not None:
        age = _date(answer.headers.get("date", ""), now) - issued
        if 0 < age < lifetime:
            lifetime -= age
    return lifetime - min(_MARGIN, lifetime / 5)


def _moment(text: object) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _date(text: str, default: float) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return default


def _refused(registry: str, question: Question, answer: Settled, now: float) -> RegistryError:
    """Return the error of a server that gives no token."""
    said = str(told(answer.body))
    words = f" ({said})" if said else ""
    start = f"{_server(question)} answers {answer.status}{words} and gives no token for {registry}"
    detail: dict[str, object] = {"registry": registry, "status": answer.status}
    pause = asked_pause(answer, now)
    if pause is not None:
        detail["retry_after"] = pause
    if answer.status == 429:
        return TooManyRequests(f"{start}; wait a while", detail=detail)
    if answer.status >= 500 or answer.status == 408:
        return Unavailable(f"{start}; try again later", detail=detail)
    if question.login is not None and answer.status == 401:
        hint = f"the login is not accepted; log in again: entrepot login {registry}"
        return Unauthorized(f"{start}; {hint}", detail=detail)
    if question.login is not None and answer.status == 403:
        hint = f"the login may not do that, or has expired; use another: entrepot login {registry}"
        return Denied(f"{start}; {hint}", detail=detail)
    # 405 to nobody in particular: a server of OAuth2 alone, which gives nothing without a login.
    lacking = (404, 405) if question.login is not None else (404,)
    if 400 <= answer.status < 500 and answer.status not in lacking:
        return Unauthorized(f"{start}; log in: entrepot login {registry}", detail=detail)
    return Unavailable(f"{start}; whoever runs the registry must mend that", detail=detail)


def _server(question: Question) -> str:
    return urlsplit(question.realm).netloc.rpartition("@")[2]
