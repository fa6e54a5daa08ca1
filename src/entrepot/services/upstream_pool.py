"""The pool of one upstream's endpoints: how each is, and which is asked first.

What an event means for an endpoint is decided by `rules/circuit_breaker`, the order by
`rules/endpoint_choice`; here both are kept, and told to the books and the history.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from entrepot.oci.errors import RegistryError, TooManyRequests, Unavailable
from entrepot.ports.mirror_books import MirrorBooks
from entrepot.ports.remote_registry import RateLimit
from entrepot.ports.upstream_endpoint import UpstreamEndpoint
from entrepot.rules import circuit_breaker as breaker
from entrepot.rules.circuit_breaker import Breaker, BreakerPolicy, State
from entrepot.rules.endpoint_choice import EndpointState, Selection, observed, rank
from entrepot.services.upstream_history import HealthHistory
from entrepot.services.upstream_verdicts import is_unhealthy, may_pass, rest_asked

PROBES_FAILED: Final = 2
"""So many probes in a row without an answer, and an endpoint is left out."""


@dataclass(frozen=True, slots=True)
class PooledEndpoint:
    """An endpoint, how much of the work it gets, and what it costs (in any unit)."""

    endpoint: UpstreamEndpoint
    weight: int = 1
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """How an endpoint is: its breaker's state, whether it may be asked now, its average latency
    in seconds if known, how many questions run, and why it was last found ill."""

    url: str
    state: State
    admitted: bool
    latency: float | None
    running: int
    reason: str


class Member:
    """One endpoint of a pool. Begin with `began`; end with `succeeded`, `failed` or `dropped`."""

    def __init__(self, pool: "Pool", pooled: PooledEndpoint) -> None:
        self.pooled = pooled
        self.breaker = Breaker()
        self._pool = pool
        self._latency: float | None = None
        self._running = 0
        self._reached = False
        self._probes_failed = 0
        self._last: RegistryError | None = None

    @property
    def url(self) -> str:
        return self.pooled.endpoint.url

    @property
    def endpoint(self) -> UpstreamEndpoint:
        return self.pooled.endpoint

    @property
    def idle(self) -> bool:
        """Whether nothing runs there."""
        return self._running == 0

    def admitted(self) -> bool:
        """Say whether it may be asked now."""
        return breaker.admits(self.breaker, self._pool.clock())

    def admitted_in(self) -> float:
        """Return after how many seconds it may be asked; a trial that runs may end any time."""
        if self.breaker.state != "open":
            return 0.0
        return max(0.0, self.breaker.until - self._pool.clock())

    def may_pass(self, error: RegistryError) -> bool:
        """Say whether what failed there with an error may succeed a little later."""
        return may_pass(error, reached=self._reached)

    def health(self) -> EndpointHealth:
        """Return how it is."""
        reason = "" if self.breaker.state == "closed" or not self._last else self._last.message
        return EndpointHealth(
            self.url, self.breaker.state, self.admitted(), self._latency, self._running, reason
        )

    def choice(self) -> EndpointState:
        """Return what its rank depends on."""
        weight, cost = self.pooled.weight, self.pooled.cost
        return EndpointState(weight, cost, self._latency, self._running, self.admitted())

    def left_out(self) -> RegistryError:
        """Return why it is not asked now."""
        kind = TooManyRequests if isinstance(self._last, TooManyRequests) else Unavailable
        why = f": {self._last.message}" if self._last else ""
        if self.breaker.state != "open":
            return kind(f"{self.url} is on trial after it had failed{why}")
        rest = self.admitted_in()
        verb = "has asked to be left alone" if self.breaker.asked else "is left out, as it failed,"
        return kind(f"{self.url} {verb} for {rest:.0f} s more{why}", detail={"retry_after": rest})

    def began(self) -> None:
        """A question is on its way."""
        self._running += 1
        self._tell(breaker.Begun())

    def answered(self, seconds: float) -> None:
        """Its answer has begun after so many seconds."""
        self._reached = True
        self._latency = observed(self._latency, max(0.0, seconds))
        if self.breaker.state == "half-open":
            # A trial has told what it can; a large blob need not come to its end first.
            self._tell(breaker.Succeeded())

    def succeeded(self) -> None:
        """The question has ended well."""
        self._probes_failed = 0
        self._tell(breaker.Succeeded())
        self._ended()

    def failed(self, error: RegistryError, seconds: float) -> None:
        """The question has ended with an error after so many seconds, which may be an answer as
        good as any."""
        self._learn(error, seconds)
        self._ended()

    def dropped(self) -> None:
        """The question was given up."""
        self._tell(breaker.Dropped())
        self._ended()

    def probed(self, error: RegistryError | None) -> None:
        """A probe has been answered, or ended with an error. Where the probes have found an
        endpoint ill, they also find it well; otherwise only requests do."""
        if error is not None and is_unhealthy(error):
            self._last = error
            self._probes_failed += 1
            policy = self._pool.policy
            if self._probes_failed >= PROBES_FAILED:
                policy = replace(policy, failures=1)
            self._tell(breaker.Failed(rest_asked(error)), policy)
            return
        if error is not None and rest_asked(error) is not None:
            self._learn(error, None)
            return
        ill_by_probes = self._probes_failed >= PROBES_FAILED
        self._probes_failed = 0
        self._reached = True
        self._tell(breaker.Probed())
        if ill_by_probes and self.breaker.state == "half-open":
            self._tell(breaker.Succeeded())

    def _learn(self, error: RegistryError, seconds: float | None) -> None:
        rest = rest_asked(error)
        if is_unhealthy(error) or (rest is not None and isinstance(error, TooManyRequests)):
            self._last = error
            self._tell(breaker.Failed(rest))
            return
        self._reached = True
        if seconds is not None:
            self._latency = observed(self._latency, max(0.0, seconds))
        self._tell(breaker.Succeeded())

    def _ended(self) -> None:
        self._running -= 1
        if not self._running:
            self._pool.idle(self)

    def _tell(self, event: breaker.Event, policy: BreakerPolicy | None = None) -> None:
        pool, before = self._pool, self.breaker.state
        self.breaker = breaker.after(
            self.breaker, event, pool.clock(), policy or pool.policy, pool.random()
        )
        if self.breaker.state != before:
            why = self._last.message if self._last and self.breaker.state == "open" else ""
            pool.changed(self, why or _WHY[self.breaker.state])


_WHY: Final[Mapping[State, str]] = {
    "closed": "it answers again",
    "open": "it failed",
    "half-open": "its rest is over; it is tried",
}


class Pool:
    """The endpoints of one upstream, in the order of their configuration."""

    def __init__(
        self,
        upstream: str,
        endpoints: Sequence[PooledEndpoint],
        *,
        selection: Selection,
        policy: BreakerPolicy,
        books: MirrorBooks,
        clock: Callable[[], float],
        wall: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self.policy = policy
        self.clock = clock
        self.random = random
        self.history = HealthHistory()
        self.rate_limit: RateLimit | None = None
        self._upstream = upstream
        self._selection: Selection = selection
        self._books = books
        self._wall = wall
        self._turn = 0
        self._leaving: list[Member] = []
        self._closing: set[asyncio.Task[None]] = set()
        self.members = tuple(Member(self, one) for one in _once_each(endpoints))

    @property
    def in_order(self) -> bool:
        """Whether endpoints are preferred as they are configured."""
        return self._selection == "order"

    def ranked(self, avoid: Collection[str] = ()) -> Sequence[Member]:
        """Return those that may be asked, whom to ask first in front, whom to avoid at the end."""
        states = [member.choice() for member in self.members]
        chosen = rank(self._selection, states, self._turn, self.random())
        self._turn += 1
        ranked = [self.members[index] for index in chosen]
        return sorted(ranked, key=lambda member: member.url in avoid)

    def admitted(self) -> Sequence[Member]:
        """Return those that may be asked, as they are configured."""
        return [member for member in self.members if member.admitted()]

    def probeable(self) -> Sequence[Member]:
        """Return those that have not asked to be left alone."""
        return [member for member in self.members if member.admitted() or not member.breaker.asked]

    def urls(self) -> Sequence[str]:
        """Return all URLs, as they are configured."""
        return [member.url for member in self.members]

    def left_out(self) -> Mapping[str, RegistryError]:
        """Return those that may not be asked now, and why."""
        return {one.url: one.left_out() for one in self.members if not one.admitted()}

    def note_budget(self, member: Member) -> None:
        """Take over the budget that an endpoint was told of."""
        told = member.endpoint.rate_limit
        if told is not None and told != self.rate_limit:
            self.rate_limit = told
            self._books.rate_limit(self._upstream, told.limit, told.remaining)

    def changed(self, member: Member, reason: str) -> None:
        """Tell that a breaker has changed."""
        state = member.breaker.state
        self.history.add(self._wall(), member.url, state, reason)
        self._books.breaker(self._upstream, member.url, state)

    def refresh(self, endpoints: Sequence[PooledEndpoint]) -> None:
        """Replace the endpoints, keeping those whose URL is known."""
        known = {member.url: member for member in self.members}
        members = []
        for pooled in _once_each(endpoints):
            member = known.pop(pooled.endpoint.url, None)
            if member is None:
                members.append(Member(self, pooled))
                continue
            if pooled.endpoint is not member.endpoint:
                self._close(pooled.endpoint)
            member.pooled = replace(pooled, endpoint=member.endpoint)
            members.append(member)
        self.members = tuple(members)
        self._leaving += known.values()
        for gone in known.values():
            if gone.idle:
                self.idle(gone)

    def idle(self, member: Member) -> None:
        """Nothing runs at an endpoint any more: if it is to leave, it is closed."""
        if member in self._leaving:
            self._leaving.remove(member)
            self._close(member.endpoint)

    async def close(self) -> None:
        """Close all endpoints, whatever runs there."""
        for one in (*self.members, *self._leaving):
            self._close(one.endpoint)
        self._leaving.clear()
        while self._closing:
            await asyncio.gather(*self._closing)

    def _close(self, endpoint: UpstreamEndpoint) -> None:
        task = asyncio.create_task(endpoint.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _once_each(endpoints: Sequence[PooledEndpoint]) -> Sequence[PooledEndpoint]:
    return list({one.endpoint.url: one for one in reversed(endpoints)}.values())[::-1]
