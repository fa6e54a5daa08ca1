"""The mirror's books: what is counted and logged of it while it works. Calls return at once."""

from typing import Literal, Protocol

Kind = Literal["manifest", "blob"]
Outcome = Literal["hit", "miss", "stale", "coalesced"]


class MirrorBooks(Protocol):
    """Told by the services; `upstream` is the upstream's name, `endpoint` a URL without secrets."""

    def asked(self, upstream: str, kind: Kind, outcome: Outcome) -> None:
        """A client's question was answered: from the cache (`hit`), after asking upstream
        (`miss`), from the cache because upstream could not be asked (`stale`), or by joining
        what another client had begun (`coalesced`)."""
        ...

    def fetched(self, upstream: str, kind: Kind, size: int) -> None:
        """Bytes came from upstream."""
        ...

    def served(self, upstream: str, kind: Kind, size: int) -> None:
        """Bytes go to a client."""
        ...

    def evicted(self, upstream: str, size: int) -> None:
        """Content was evicted."""
        ...

    def exchanged(
        self, upstream: str, endpoint: str, operation: str, outcome: str, seconds: float
    ) -> None:
        """One attempt at an endpoint has ended: `outcome` is `ok` or an error code. One log line
        is written for it."""
        ...

    def breaker(
        self, upstream: str, endpoint: str, state: Literal["closed", "open", "half-open"]
    ) -> None:
        """An endpoint's circuit breaker has changed."""
        ...

    def rate_limit(self, upstream: str, limit: int | None, remaining: int | None) -> None:
        """An upstream has told its budget."""
        ...

    def noted(self, kind: str, upstream: str, detail: str) -> None:
        """Something an operator should see has happened: a tag diverged, content was corrupt, an
        upstream lied."""
        ...


class NoBooks:
    """Books that note nothing, for commands that are no server."""

    def asked(self, upstream: str, kind: Kind, outcome: Outcome) -> None: ...

    def fetched(self, upstream: str, kind: Kind, size: int) -> None: ...

    def served(self, upstream: str, kind: Kind, size: int) -> None: ...

    def evicted(self, upstream: str, size: int) -> None: ...

    def exchanged(
        self, upstream: str, endpoint: str, operation: str, outcome: str, seconds: float
    ) -> None: ...

    def breaker(
        self, upstream: str, endpoint: str, state: Literal["closed", "open", "half-open"]
    ) -> None: ...

    def rate_limit(self, upstream: str, limit: int | None, remaining: int | None) -> None: ...

    def noted(self, kind: str, upstream: str, detail: str) -> None: ...
