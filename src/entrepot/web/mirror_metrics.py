"""Metrics of the mirror: what it answered, what it asked upstream, and how upstreams are.

    registry_proxy_{requests,hits,misses}_total{type}             distribution's
    registry_proxy_{pulled,pushed}_bytes_total{type}              from upstream; to clients
    entrepot_mirror_answers_total{upstream,type,outcome}          hit, miss, stale, coalesced
    entrepot_mirror_evictions_total{upstream}
    entrepot_mirror_evicted_bytes_total{upstream}
    entrepot_mirror_events_total{kind,upstream}                   diverged tags, corrupt content, …
    entrepot_upstream_requests_total{upstream,endpoint,operation,outcome}
    entrepot_upstream_request_duration_seconds{upstream,operation}
    entrepot_upstream_breaker_state{upstream,endpoint}            0 closed, 1 on trial, 2 open
    entrepot_upstream_rate_limit{upstream}, entrepot_upstream_rate_limit_remaining{upstream}

A server that mirrors whatever it is asked for meets any number of upstreams. Those that are
configured always have their names; of the others, those beyond the first MOST_UNLISTED are counted
together as `other`.
"""

from collections.abc import Callable, Container
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from entrepot import logs
from entrepot.ports.mirror_books import Kind, Outcome
from entrepot.web.metric_files import Counter, Histogram, open_values, series_key, value_path

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

MOST_UNLISTED: Final = 50
GAUGES: Final = ("gauge_livemax", "gauge_livemin")
"""Kinds of the files of values that count only while their worker lives."""

_OPERATION_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BREAKER: Final = {"closed": 0.0, "half-open": 1.0, "open": 2.0}
_HELP: Final = {
    "registry_proxy_requests": "Requests for mirrored content.",
    "registry_proxy_hits": "Requests for mirrored content answered from the cache.",
    "registry_proxy_misses": "Requests for mirrored content for which the upstream was asked.",
    "registry_proxy_pulled_bytes": "Bytes fetched from upstreams.",
    "registry_proxy_pushed_bytes": "Bytes of mirrored content sent to clients.",
    "entrepot_mirror_answers": "Answers for mirrored content by outcome.",
    "entrepot_mirror_evictions": "Contents evicted from the cache.",
    "entrepot_mirror_evicted_bytes": "Bytes evicted from the cache.",
    "entrepot_mirror_events": "Things an operator should look at.",
    "entrepot_upstream_requests": "Attempts at upstream endpoints by outcome.",
    "entrepot_upstream_request_duration_seconds": "Time of an attempt at an upstream, in seconds.",
    "entrepot_upstream_breaker_state": "0: in use, 1: on trial, 2: left out.",
    "entrepot_upstream_rate_limit": "Requests that the upstream grants per window.",
    "entrepot_upstream_rate_limit_remaining": "Requests that are left in the upstream's window.",
}


class MirrorMetrics:
    """One worker's part of them, as `ports.mirror_books.MirrorBooks`; also writes the log lines."""

    def __init__(self, directory: Path, slot: int) -> None:
        self._counters = open_values(value_path(directory, "counter_mirror", slot))
        self._histograms = open_values(value_path(directory, "histogram_mirror", slot))
        self._highest = open_values(value_path(directory, "gauge_livemax", slot))
        self._lowest = open_values(value_path(directory, "gauge_livemin", slot))
        self._counts: dict[tuple[str, ...], Counter] = {}
        self._durations: dict[tuple[str, str], Histogram] = {}
        self._unlisted: set[str] = set()
        self._listed: Callable[[], Container[str]] = tuple
        self._log: FilteringBoundLogger = logs.get_logger("upstream")

    def name(self, listed: Callable[[], Container[str]]) -> None:
        """Take notice of the upstreams that are configured, as they are whenever asked."""
        self._listed = listed

    def asked(self, upstream: str, kind: Kind, outcome: Outcome) -> None:
        """See `MirrorBooks.asked`."""
        self._add("registry_proxy_requests", {"type": kind})
        found = "misses" if outcome == "miss" else "hits"
        self._add(f"registry_proxy_{found}", {"type": kind})
        labels = {"upstream": self._shown(upstream), "type": kind, "outcome": outcome}
        self._add("entrepot_mirror_answers", labels)

    def fetched(self, upstream: str, kind: Kind, size: int) -> None:
        """See `MirrorBooks.fetched`."""
        self._add("registry_proxy_pulled_bytes", {"type": kind}, size)

    def served(self, upstream: str, kind: Kind, size: int) -> None:
        """See `MirrorBooks.served`."""
        self._add("registry_proxy_pushed_bytes", {"type": kind}, size)

    def evicted(self, upstream: str, size: int) -> None:
        """See `MirrorBooks.evicted`."""
        labels = {"upstream": self._shown(upstream)}
        self._add("entrepot_mirror_evictions", labels)
        self._add("entrepot_mirror_evicted_bytes", labels, size)

    def exchanged(
        self, upstream: str, endpoint: str, operation: str, outcome: str, seconds: float
    ) -> None:
        """See `MirrorBooks.exchanged`."""
        shown = self._shown(upstream)
        labels = {
            "upstream": shown,
            "endpoint": endpoint if shown == upstream else "other",
            "operation": operation,
            "outcome": outcome,
        }
        self._add("entrepot_upstream_requests", labels)
        durations = self._durations.get((shown, operation))
        if durations is None:
            name = "entrepot_upstream_request_duration_seconds"
            durations = self._durations[shown, operation] = Histogram(
                self._histograms,
                name,
                {"upstream": shown, "operation": operation},
                _HELP[name],
                _OPERATION_BUCKETS,
            )
        durations.observe(seconds)
        tell = self._log.info if outcome == "ok" else self._log.warning
        tell(
            "upstream asked",
            upstream=upstream,
            endpoint=endpoint,
            operation=operation,
            outcome=outcome,
            seconds=round(seconds, 4),
        )

    def breaker(
        self, upstream: str, endpoint: str, state: Literal["closed", "open", "half-open"]
    ) -> None:
        """See `MirrorBooks.breaker`."""
        labels = {"upstream": self._shown(upstream), "endpoint": endpoint}
        if labels["upstream"] == upstream:
            name = "entrepot_upstream_breaker_state"
            self._highest.write_value(series_key(name, labels, _HELP[name]), _BREAKER[state], 0.0)
        tell = self._log.info if state == "closed" else self._log.warning
        tell("breaker", upstream=upstream, endpoint=endpoint, state=state)

    def rate_limit(self, upstream: str, limit: int | None, remaining: int | None) -> None:
        """See `MirrorBooks.rate_limit`."""
        labels = {"upstream": self._shown(upstream)}
        for name, value in (
            ("entrepot_upstream_rate_limit", limit),
            ("entrepot_upstream_rate_limit_remaining", remaining),
        ):
            if value is not None:
                self._lowest.write_value(series_key(name, labels, _HELP[name]), float(value), 0.0)

    def noted(self, kind: str, upstream: str, detail: str) -> None:
        """See `MirrorBooks.noted`."""
        self._add("entrepot_mirror_events", {"kind": kind, "upstream": self._shown(upstream)})
        tell = self._log.info if kind == "tag.moved" else self._log.warning
        tell(kind, upstream=upstream, detail=detail)

    def flush(self) -> None:
        """Move what was counted to the files."""
        for count in self._counts.values():
            count.flush()
        for durations in self._durations.values():
            durations.flush()

    def close(self) -> None:
        """Close the files; what was counted stays in them."""
        for file in (self._counters, self._histograms, self._highest, self._lowest):
            file.close()

    def _add(self, name: str, labels: dict[str, str], amount: int = 1) -> None:
        identity = (name, *labels.values())
        count = self._counts.get(identity)
        if count is None:
            made = series_key(name, labels, _HELP[name], suffix="_total")
            count = self._counts[identity] = Counter(self._counters, made)
        count.pending += amount

    def _shown(self, upstream: str) -> str:
        if upstream in self._unlisted or upstream in self._listed():
            return upstream
        if len(self._unlisted) >= MOST_UNLISTED:
            return "other"
        self._unlisted.add(upstream)
        return upstream
