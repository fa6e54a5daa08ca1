"""The session: requests to one registry, with everything between a request and its answer that
is the same for all. Logins and tokens, redirects, repetition, and refusals as errors.

From the inside out: an exchange (`exchanges`), its redirects (`redirects`), its repetition
(`retries`), the registry's challenges (`authentication`), and what is refused (`refusals`).
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Final
from urllib.parse import urljoin, urlsplit

from entrepot.adapters.remotes.authentication import Attempt, Authentication, Scheme
from entrepot.adapters.remotes.exchange import Request, Response, Transport
from entrepot.adapters.remotes.exchange_log import ExchangeLog
from entrepot.adapters.remotes.exchanges import Conversation, Exchanges, Settled
from entrepot.adapters.remotes.redirects import follow, same_origin
from entrepot.adapters.remotes.refusals import Asking, refusal
from entrepot.adapters.remotes.retries import Retries, asked_pause
from entrepot.adapters.remotes.tokens import MAX_ANSWER, Tokens
from entrepot.oci.address import DOCKER_HUB
from entrepot.oci.errors import (
    CertificateRefused,
    ConnectionLost,
    Denied,
    HostUnknown,
    Unavailable,
)
from entrepot.ports.credential_store import CredentialStore
from entrepot.ports.remote_registry import RateLimit
from entrepot.protocol.challenges import Scope
from entrepot.rules.realms import is_loopback, may_lead_to
from entrepot.rules.retries import IDEMPOTENT, RetryPolicy

_HUB_SERVER: Final = "registry-1.docker.io"
_REFUSED: Final = frozenset({401, 403})
_READS: Final = frozenset({"GET", "HEAD"})


def _silent(_text: str) -> None:
    """Take a warning and drop it."""


class Session:
    """One registry (`host`, as `host[:port]`; `docker.io` is Docker Hub), over one transport.

    HTTPS is spoken, except: with `plain_http`; with a loopback host that answers plain HTTP; and
    where `tls_verify` is off (which the transport must know, too) and HTTPS fails.
    `base_url` says where the registry is if its name does not: scheme, place, and a path in front
    of `/v2/` (`https://art.example/artifactory/api/docker/key`); without a scheme (`//host`) that
    is found out as for any host, and `https://` on loopback is meant.

    `headers` go with every request to the registry's own origin, also for tokens there, and to
    nobody else. With an `Authorization` among them no challenge is answered.

    Logins are looked up in `credentials` when the registry first asks, and sent to it and to its
    realm by the rules of `rules/realms`, with `allowed_realms` as well. `anonymous_fallback`
    lets a pull go on without a login that is refused. `remember_logins` off asks `credentials`
    each time. `offline` asks for an identity token. `token_retry_policy` is for requests for
    tokens, if it is another one. `log` takes the place of that which `debug` makes.
    `on_warning` gets each warning for people once. The transport is not closed here.
    """

    def __init__(
        self,
        host: str,
        transport: Transport,
        credentials: CredentialStore | None = None,
        *,
        base_url: str = "",
        headers: Mapping[str, str] | None = None,
        plain_http: bool = False,
        tls_verify: bool = True,
        allowed_realms: Collection[str] = (),
        anonymous_fallback: bool = True,
        remember_logins: bool = True,
        offline: bool = False,
        retry_policy: RetryPolicy | None = None,
        token_retry_policy: RetryPolicy | None = None,
        log: ExchangeLog | None = None,
        on_warning: Callable[[str], None] = _silent,
        debug: bool = False,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.host = host
        where = urlsplit(base_url)
        found = where.netloc + where.path.rstrip("/")
        self._place = found or (_HUB_SERVER if host == DOCKER_HUB else host)
        self._plain_http = plain_http or where.scheme == "http"
        self._secure = where.scheme == "https"
        self._headers = dict(headers or {})
        self._tls_verify = tls_verify
        self._url = ""
        self._reached = False
        self._opening = asyncio.Lock()
        policy = retry_policy or RetryPolicy()
        self._retries = Retries(policy, sleep=sleep, random=random)
        self._token_retries = Retries(token_retry_policy or policy, sleep=sleep, random=random)
        self._clock = clock
        self._exchanges = Exchanges(
            transport, host=host, log=log or ExchangeLog(debug), clock=clock, on_warning=on_warning
        )
        self._tokens = Tokens(host, self._ask, clock=clock, offline=offline)
        self._authentication = Authentication(
            host,
            credentials,
            self._tokens,
            warn=self._exchanges.warn,
            allowed_realms=allowed_realms,
            anonymous_fallback=anonymous_fallback,
            remember_logins=remember_logins,
            answers=not any(name.lower() == "authorization" for name in self._headers),
            clock=clock,
        )

    @property
    def url(self) -> str:
        """The registry's address, e.g. `https://ghcr.io`; empty until it is known."""
        return self._url

    @property
    def authentication(self) -> Scheme:
        """How the registry asks for credentials; empty if it has not asked so far."""
        return self._authentication.scheme

    @property
    def rate_limit(self) -> RateLimit | None:
        """The budget told by the last response that told one."""
        return self._exchanges.rate_limit

    @property
    def identity_token(self) -> str:
        """The identity token that came with a token, to be kept instead of the password."""
        return self._tokens.identity_token

    async def close(self) -> None:
        """Stop what still runs for nobody."""
        await self._tokens.close()

    @asynccontextmanager
    async def send(
        self,
        request: Request,
        *,
        scopes: Sequence[Scope] = (),
        expect: Collection[int] = (),
        repeat: bool | None = None,
    ) -> AsyncIterator[Response]:
        """Send a request; the context's end drops what is left of the response.

        Its URL is a path (`/v2/…`) or absolute, as a Location told it; only the registry itself
        is sent a login, for `scopes`. A response of 2xx or a status in `expect` is returned, any
        other raised as the error it means. `repeat` says whether the request may be sent again
        after a failure that may pass: None is what the method allows.

        Raise errors of `oci/errors.py`: Unauthorized, Denied, NameUnknown …, TooManyRequests,
        Unavailable, ConnectionLost, CertificateRefused.
        """
        async with AsyncExitStack() as stack:
            conversation = Conversation(self._exchanges, stack)
            yield await self._obtain(conversation, request, scopes, expect, repeat)

    async def _obtain(
        self,
        conversation: Conversation,
        request: Request,
        scopes: Sequence[Scope],
        expect: Collection[int],
        repeat: bool | None,
    ) -> Response:
        base = await self._open()
        request = replace(request, url=_absolute(base, request.url))
        if not may_lead_to(base, request.url):
            raise Denied(
                f"{self.host} names an upload or page at a place that is not asked: it would leave "
                "HTTPS, or lead to this machine itself; ask whoever runs the registry"
            )
        ours = same_origin(base, request.url)
        attempt = Attempt(self._authentication, scopes, reads=request.method in _READS)
        asked_elsewhere = False
        while True:
            authorization = await attempt.authorization() if ours else None
            authorised = _with_authorization(request, authorization)
            response = await self._persist(conversation, authorised, expect, repeat)
            if _is_success(response) or (response.status in expect and response.status != 401):
                return response
            answer = await conversation.settle(response)
            if not same_origin(answer.url, request.url):
                # A redirect to storage is signed for a while only: ask for a new one, once.
                if answer.status in _REFUSED and not asked_elsewhere:
                    asked_elsewhere = True
                    continue
            elif ours and answer.status in _REFUSED:
                await self._ask_how(answer, request)
                if await attempt.challenged(answer):
                    continue
            if answer.status in expect:
                return answer
            asking = Asking(self.host, base, request, attempt.with_login, tuple(attempt.notes))
            raise refusal(asking, answer, asked_pause(answer, self._clock()))

    async def _persist(
        self,
        conversation: Conversation,
        request: Request,
        expect: Collection[int],
        repeat: bool | None = None,
        retries: Retries | None = None,
    ) -> Response:
        """Send a request and follow its redirects, again while that may help and is allowed."""
        retries = retries or self._retries
        repeatable = request.method in IDEMPOTENT if repeat is None else repeat
        failures = 0
        while True:
            failures += 1
            try:
                response = await follow(conversation, request, expect)
            except (ConnectionLost, HostUnknown) as error:
                if isinstance(error, HostUnknown):
                    # A name that was found before has not ceased to be: the network is away.
                    if not self._reached:
                        raise
                    error = ConnectionLost(error.message)
                if not repeatable:
                    raise error from None
                await retries.pause(failures, error)
                continue
            if self._url and same_origin(response.url, self._url):
                self._reached = True
                self._exchanges.note(response)
            if not repeatable or response.status in expect or not retries.may_pass(response):
                return response
            pause = asked_pause(response, self._clock())
            if not retries.goes_on(failures, pause):
                return response
            await conversation.settle(response)
            await retries.pause(failures, Unavailable(f"{self.host} is busy"), pause)

    async def _ask(self, request: Request) -> Settled:
        """Send a small request of our own, as for a token, and return whatever the answer is.

        A POST carries a secret in its body, so it is not redirected.
        """
        stop = range(300, 400) if request.method == "POST" else ()
        failures = 0
        while True:
            failures += 1
            async with AsyncExitStack() as stack:
                conversation = Conversation(self._exchanges, stack)
                response = await self._persist(
                    conversation, request, stop, repeat=True, retries=self._token_retries
                )
                try:
                    return await conversation.whole(response, MAX_ANSWER)
                except ConnectionLost as error:  # half a token is none
                    lost = error
            await self._token_retries.pause(failures, lost)

    async def _ask_how(self, answer: Settled, request: Request) -> None:
        """Where a 401 does not say what it wants (as gcr.io's), ask at `/v2/`, once."""
        knows = self._authentication.scheme or "www-authenticate" in answer.headers
        base = f"{self._url}/v2/"
        if answer.status == 401 and not knows and request.url != base:
            self._authentication.learn(await self._ask(Request("GET", base)))

    async def _open(self) -> str:
        """Return the registry's address, finding out which scheme it speaks where that is open."""
        if self._url:
            return self._url
        async with self._opening:
            if not self._url:
                self._url = await self._find_url()
                self._authentication.url = self._url
                self._exchanges.introduce(self._url, self._headers)
        return self._url

    async def _find_url(self) -> str:
        secure, plain = f"https://{self._place}", f"http://{self._place}"
        if self._plain_http:
            return plain
        if not self._secure and is_loopback(_without_port(self._place.partition("/")[0])):
            return await self._find_on_loopback(secure, plain)
        if self._tls_verify:
            return secure
        try:
            await self._probe(secure)
        except HostUnknown:
            raise
        except Unavailable as error:
            try:
                await self._probe(plain)
            except Unavailable:
                raise error from None
            self._exchanges.warn(f"{self.host} speaks plain HTTP; whoever listens can read along")
            return plain
        return secure

    async def _find_on_loopback(self, secure: str, plain: str) -> str:
        """Try plain HTTP first: nobody listens here, most registries on loopback speak it, and
        one that speaks TLS says no at once, while not every plain server does to TLS."""
        failures = 0
        while True:
            failures += 1
            answer: Settled | None = None
            with suppress(Unavailable):
                answer = await self._probe(plain)
                # Servers of TLS answer 400 to plain HTTP, if anything.
                if answer.status != 400:
                    return plain
            try:
                await self._probe(secure)
            except (CertificateRefused, HostUnknown):
                raise
            except Unavailable as error:
                if answer is not None:
                    return plain
                await self._retries.pause(failures, error)
            else:
                return secure

    async def _probe(self, base: str) -> Settled:
        """Ask `/v2/` once; how it asks for credentials is remembered."""
        async with AsyncExitStack() as stack:
            conversation = Conversation(self._exchanges, stack)
            answer = await conversation.settle(
                await conversation.send(Request("GET", f"{base}/v2/"))
            )
            if answer.status == 401:
                self._authentication.learn(answer)
            return answer


def _is_success(response: Response) -> bool:
    return 200 <= response.status < 300


def _with_authorization(request: Request, authorization: str | None) -> Request:
    if authorization is None:
        return request
    return replace(request, headers={**request.headers, "authorization": authorization})


def _absolute(base: str, url: str) -> str:
    """Return where a URL leads: below the registry's own path if it is a path, else as it says."""
    if url.startswith("/") and not url.startswith("//"):
        return base + url
    return urljoin(base, url)


def _without_port(place: str) -> str:
    host, colon, port = place.rpartition(":")
    return host if colon and port.isdigit() else place
