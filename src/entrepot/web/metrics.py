"""Metrics: what Prometheus may know about this server, under distribution's names.

    registry_http_requests_total{code,handler,method}         counter
    registry_http_request_duration_seconds{handler,method}    histogram
    registry_http_in_flight_requests{handler}                 gauge
    registry_http_request_size_bytes{handler}                 histogram
    registry_http_response_size_bytes{handler}                histogram
    entrepot_build_info{version}                              gauge, always 1

Buckets and label values are distribution's too, so dashboards made for it work.

Workers share one directory in the format of prometheus_client's multiprocess mode: each writes
the files of its own slot, and whichever is scraped merges them all. A worker counts in plain
numbers and moves them to its files on `flush`; prometheus_client's own objects would cost every
request several times as much. A restarted worker goes on in its slot's files, so counters never
fall and files never multiply. Nothing here reads the environment.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from entrepot import __version__
from entrepot.web.metric_files import Counter, Histogram, open_values, series_key, value_path
from entrepot.web.mirror_metrics import GAUGES, MirrorMetrics

PATH: Final = "/metrics"
CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""Media type of what `Metrics.render` returns."""

FLUSH_INTERVAL: Final = 0.25
"""Seconds between a worker's flushes: so late, at most, a scrape of another worker sees it."""

HANDLERS: Final = (
    "base", "blob", "blob_upload", "blob_upload_chunk", "catalog", "manifest", "tags",
    "referrers",
)  # fmt: skip
"""distribution's handlers, and `referrers`, which it lacks."""

DURATION_BUCKETS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0,
)  # fmt: skip
SIZE_BUCKETS: Final = tuple(1024.0 * 2**power for power in range(22))

_METHODS: Final = {
    name: name.lower() for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}


def prepare(directory: Path) -> None:
    """Make a directory ready for a new run; what an earlier run counted is gone.

    The parent calls this once, before any worker starts.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.glob("*.db"):
        file.unlink()


def retire(directory: Path, slot: int) -> None:
    """Forget what a worker that died had in flight. The parent calls this when it notices."""
    for kind in ("gauge_livesum", *GAUGES):
        value_path(directory, kind, slot).unlink(missing_ok=True)


class Metrics:
    """One worker's metrics, and all workers' together when rendered.

    The directory must have been made ready with `prepare`, and no other running process may
    have the same slot. For every request: `begin` once its handler is known, `end` exactly once
    after that.
    """

    def __init__(self, directory: Path, slot: int) -> None:
        self._directory = directory
        self._all = _AllWorkers(directory)
        self._counters = open_values(value_path(directory, "counter", slot))
        self._histograms = open_values(value_path(directory, "histogram", slot))
        self._gauges = open_values(value_path(directory, "gauge_livesum", slot))
        self._in_flight = dict.fromkeys(HANDLERS, 0)
        self._in_flight_keys = {
            handler: series_key(
                "registry_http_in_flight_requests",
                {"handler": handler},
                "HTTP requests being served now.",
            )
            for handler in HANDLERS
        }
        self._series: dict[tuple[str, str, int], _Series] = {}
        self._totals: list[Counter | Histogram] = []
        self._shared: dict[str, Histogram] = {}
        self.mirror = MirrorMetrics(directory, slot)
        self.flush()

    def begin(self, handler: str) -> None:
        """Note that a request to one of the `HANDLERS` is in flight."""
        self._in_flight[handler] += 1

    def end(
        self, handler: str, method: str, code: int, seconds: float, received: int, sent: int
    ) -> None:
        """Note the end of a request that was begun; sizes are the bodies' bytes."""
        self._in_flight[handler] -= 1
        # A client may invent methods; each would be a new series for ever.
        method = _METHODS.get(method, "unknown")
        try:
            requests, durations, received_sizes, sent_sizes = self._series[handler, method, code]
        except KeyError:
            series = self._series[handler, method, code] = self._add(handler, method, code)
            requests, durations, received_sizes, sent_sizes = series
        requests.pending += 1
        durations.observe(seconds)
        received_sizes.observe(received)
        sent_sizes.observe(sent)

    def flush(self) -> None:
        """Move what was counted to the files that every worker reads."""
        for total in self._totals:
            total.flush()
        self.mirror.flush()
        for handler, count in self._in_flight.items():
            self._gauges.write_value(self._in_flight_keys[handler], float(count), 0.0)

    def render(self) -> bytes:
        """Return all workers' metrics in Prometheus's text format (`CONTENT_TYPE`)."""
        self.flush()
        return generate_latest(self._all)

    async def scrape(self) -> bytes:
        """Return what `render` does, complete for every request that ended before the call.

        Other workers flush within FLUSH_INTERVAL, so that long is waited for them. The files
        are merged in a thread: with many series that takes tens of milliseconds.
        """
        if len(list(self._directory.glob("counter_*.db"))) > 1:
            await asyncio.sleep(FLUSH_INTERVAL * 1.2)
        self.flush()
        return await asyncio.to_thread(generate_latest, self._all)

    def close(self) -> None:
        """Flush and close the files; what was counted stays in them."""
        self.flush()
        for file in (self._counters, self._histograms, self._gauges):
            file.close()
        self.mirror.close()

    def _add(self, handler: str, method: str, code: int) -> "_Series":
        """Make the series of a combination seen for the first time."""
        requests = Counter(
            self._counters,
            series_key(
                "registry_http_requests",
                {"code": str(code), "handler": handler, "method": method},
                "HTTP requests served.",
                suffix="_total",
            ),
        )
        self._totals.append(requests)
        return (
            requests,
            self._histogram(
                "registry_http_request_duration_seconds",
                {"handler": handler, "method": method},
                "Time from a request's header to the last byte of its response, in seconds.",
                DURATION_BUCKETS,
            ),
            self._histogram(
                "registry_http_request_size_bytes",
                {"handler": handler},
                "Sizes of request bodies in bytes.",
                SIZE_BUCKETS,
            ),
            self._histogram(
                "registry_http_response_size_bytes",
                {"handler": handler},
                "Sizes of response bodies in bytes.",
                SIZE_BUCKETS,
            ),
        )

    def _histogram(
        self, name: str, labels: Mapping[str, str], meaning: str, bounds: Sequence[float]
    ) -> "Histogram":
        identity = series_key(name, labels, meaning)
        if identity not in self._shared:
            histogram = Histogram(self._histograms, name, labels, meaning, bounds)
            self._shared[identity] = histogram
            self._totals.append(histogram)
        return self._shared[identity]


_Series = tuple[Counter, Histogram, Histogram, Histogram]


class _AllWorkers(Collector):
    """The sum of all workers' files, and what is known without them."""

    def __init__(self, directory: Path) -> None:
        self._merged = MultiProcessCollector(None, str(directory))

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily(
            "entrepot_build_info", "The version that runs; always 1.", labels=["version"]
        )
        build.add_metric([__version__], 1.0)
        return [build, *self._merged.collect()]
