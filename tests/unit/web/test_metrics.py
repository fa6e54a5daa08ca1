"""Metrics: names, labels and sums, over workers that live, die and come back."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from entrepot import __version__
from entrepot.web import metrics
from entrepot.web.metrics import Metrics
from entrepot.web.mirror_metrics import MOST_UNLISTED

WORKER = """
import sys
from pathlib import Path
from entrepot.web.metrics import Metrics
from entrepot.web.mirror_metrics import MOST_UNLISTED

worker = Metrics(Path(sys.argv[1]), int(sys.argv[2]))
for word in sys.argv[3:]:
    worker.begin("blob")
    if word == "whole":
        worker.end("blob", "GET", 200, 0.2, 0, 2000)
worker.flush()
print("counted", flush=True)
sys.stdin.read()
"""

Samples = dict[str, float]


def scrape(worker: Metrics) -> Samples:
    """Return what a scrape says, as `{"name{label=value,…}": number}`, labels in order."""
    samples = {}
    for family in text_string_to_metric_families(worker.render().decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={sample.labels[name]}" for name in sorted(sample.labels))
            samples[f"{sample.name}{{{labels}}}"] = sample.value
    return samples


def start(directory: Path, slot: int, *words: str) -> subprocess.Popen[str]:
    """Start a worker process that counts, then waits for its end."""
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(directory), str(slot), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "counted\n"
    return worker


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "metrics"
    metrics.prepare(directory)
    return directory


@pytest.fixture
def worker(directory: Path) -> Iterator[Metrics]:
    with contextlib.closing(Metrics(directory, 0)) as worker:
        yield worker


def test_a_request_is_counted_under_distributions_names(worker: Metrics) -> None:
    worker.begin("manifest")
    worker.end("manifest", "PUT", 201, 0.03, 1500, 0)
    samples = scrape(worker)
    assert samples["registry_http_requests_total{code=201,handler=manifest,method=put}"] == 1
    duration = "registry_http_request_duration_seconds"
    assert samples[f"{duration}_count{{handler=manifest,method=put}}"] == 1
    assert samples[f"{duration}_sum{{handler=manifest,method=put}}"] == 0.03
    assert samples[f"{duration}_bucket{{handler=manifest,le=0.025,method=put}}"] == 0
    assert samples[f"{duration}_bucket{{handler=manifest,le=0.05,method=put}}"] == 1
    assert samples[f"{duration}_bucket{{handler=manifest,le=+Inf,method=put}}"] == 1
    assert samples["registry_http_request_size_bytes_sum{handler=manifest}"] == 1500
    assert samples["registry_http_request_size_bytes_bucket{handler=manifest,le=1024.0}"] == 0
    assert samples["registry_http_request_size_bytes_bucket{handler=manifest,le=2048.0}"] == 1
    assert samples["registry_http_response_size_bytes_sum{handler=manifest}"] == 0
    assert samples["registry_http_response_size_bytes_count{handler=manifest}"] == 1


def test_the_types_are_distributions_too(worker: Metrics) -> None:
    worker.begin("base")
    worker.end("base", "GET", 200, 0.1, 0, 2)
    types = {
        family.name: family.type
        for family in text_string_to_metric_families(worker.render().decode())
    }
    assert types == {
        "entrepot_build_info": "gauge",
        "registry_http_in_flight_requests": "gauge",
        "registry_http_request_duration_seconds": "histogram",
        "registry_http_request_size_bytes": "histogram",
        "registry_http_requests": "counter",
        "registry_http_response_size_bytes": "histogram",
    }


def test_sizes_of_a_handler_are_summed_over_methods_and_codes(worker: Metrics) -> None:
    for method, code in (("GET", 200), ("HEAD", 200), ("GET", 404)):
        worker.begin("blob")
        worker.end("blob", method, code, 0.0, 0, 100)
    samples = scrape(worker)
    assert samples["registry_http_response_size_bytes_count{handler=blob}"] == 3
    assert samples["registry_http_response_size_bytes_sum{handler=blob}"] == 300
    duration = "registry_http_request_duration_seconds_count"
    assert samples[f"{duration}{{handler=blob,method=get}}"] == 2
    assert samples["registry_http_requests_total{code=404,handler=blob,method=get}"] == 1


def test_invented_methods_make_one_series_only(worker: Metrics) -> None:
    for method in ("BREW", "get", "X" * 5000):
        worker.begin("base")
        worker.end("base", method, 405, 0.0, 0, 0)
    samples = scrape(worker)
    assert samples["registry_http_requests_total{code=405,handler=base,method=unknown}"] == 3


def test_requests_in_flight_rise_and_fall(worker: Metrics) -> None:
    key = "registry_http_in_flight_requests{handler=tags}"
    assert scrape(worker)[key] == 0
    worker.begin("tags")
    worker.begin("tags")
    assert scrape(worker)[key] == 2
    worker.end("tags", "GET", 200, 0.0, 0, 0)
    assert scrape(worker)[key] == 1


def test_every_handler_is_there_from_the_start(worker: Metrics) -> None:
    samples = scrape(worker)
    for handler in metrics.HANDLERS:
        assert samples[f"registry_http_in_flight_requests{{handler={handler}}}"] == 0


def test_the_build_is_told_once_whatever_the_number_of_workers(
    directory: Path, worker: Metrics
) -> None:
    with contextlib.closing(Metrics(directory, 1)):
        samples = scrape(worker)
    assert samples[f"entrepot_build_info{{version={__version__}}}"] == 1


def test_a_scrape_of_one_worker_tells_of_all(directory: Path, worker: Metrics) -> None:
    with start(directory, 1, "whole", "whole", "running"), start(directory, 2, "whole"):
        worker.begin("blob")
        worker.end("blob", "GET", 200, 0.2, 0, 2000)
        samples = scrape(worker)
    assert samples["registry_http_requests_total{code=200,handler=blob,method=get}"] == 4
    assert samples["registry_http_response_size_bytes_sum{handler=blob}"] == 8000
    assert samples["registry_http_response_size_bytes_bucket{handler=blob,le=2048.0}"] == 4
    assert samples["registry_http_in_flight_requests{handler=blob}"] == 1


def test_a_killed_worker_leaves_its_counts_and_nothing_in_flight(
    directory: Path, worker: Metrics
) -> None:
    with start(directory, 1, "whole", "running") as other:
        assert scrape(worker)["registry_http_in_flight_requests{handler=blob}"] == 1
        other.kill()
    metrics.retire(directory, 1)
    samples = scrape(worker)
    assert samples["registry_http_in_flight_requests{handler=blob}"] == 0
    assert samples["registry_http_requests_total{code=200,handler=blob,method=get}"] == 1


KINDS = (
    "counter",
    "counter_mirror",
    "histogram",
    "histogram_mirror",
    "gauge_livesum",
    "gauge_livemax",
    "gauge_livemin",
)


def test_a_worker_that_comes_back_goes_on_in_its_slot(directory: Path, worker: Metrics) -> None:
    for _ in range(3):
        with start(directory, 1, "whole", "running") as other:
            other.kill()
    files = {file.name for file in directory.iterdir()}
    assert files == {f"{kind}_{slot}.db" for kind in KINDS for slot in (0, 1)}
    samples = scrape(worker)
    assert samples["registry_http_requests_total{code=200,handler=blob,method=get}"] == 3
    assert samples["registry_http_request_duration_seconds_count{handler=blob,method=get}"] == 3
    assert samples["registry_http_in_flight_requests{handler=blob}"] == 1


def count_one(directory: Path, slot: int) -> None:
    """Be a worker that answers one request and ends in good order."""
    with contextlib.closing(Metrics(directory, slot)) as worker:
        worker.begin("blob")
        worker.end("blob", "GET", 200, 0.2, 0, 0)


def test_what_is_counted_is_kept_when_a_worker_closes(directory: Path, worker: Metrics) -> None:
    count_one(directory, 1)
    samples = scrape(worker)
    assert samples["registry_http_requests_total{code=200,handler=blob,method=get}"] == 1


def test_a_new_run_begins_at_zero(directory: Path) -> None:
    count_one(directory, 0)
    metrics.prepare(directory)
    with contextlib.closing(Metrics(directory, 0)) as worker:
        samples = scrape(worker)
    assert "registry_http_requests_total{code=200,handler=blob,method=get}" not in samples


def test_the_files_have_their_space_before_it_is_needed(directory: Path, worker: Metrics) -> None:
    """A mapped page without room on a full disk would kill the worker."""
    before = [(file.stat().st_size, file.stat().st_blocks) for file in directory.iterdir()]
    assert all(blocks * 512 >= size for size, blocks in before)
    for handler in metrics.HANDLERS:
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            worker.begin(handler)
            worker.end(handler, method, 200, 0.2, 0, 0)
    worker.flush()
    assert [(file.stat().st_size, file.stat().st_blocks) for file in directory.iterdir()] == before


def test_more_series_than_expected_make_the_files_grow(worker: Metrics) -> None:
    """The files grow while they are mapped; nothing counted before may be lost."""
    for code in range(200, 600):
        for handler in metrics.HANDLERS:
            worker.begin(handler)
            worker.end(handler, "GET", code, 0.2, 0, 0)
    samples = scrape(worker)
    total = [value for name, value in samples.items() if name.startswith("registry_http_requests_")]
    assert total == [1] * 400 * len(metrics.HANDLERS)


def test_strangers_take_no_configured_upstreams_name_away(worker: Metrics) -> None:
    """Whoever is configured, also later, has a series of its own; of the others only so many."""
    listed = ["hub.test"]
    worker.mirror.name(lambda: listed)
    for number in range(2 * MOST_UNLISTED):
        worker.mirror.asked(f"{number}.test", "blob", "miss")
    listed.append("added.test")
    for upstream in ("hub.test", "added.test"):
        worker.mirror.asked(upstream, "blob", "hit")
    counts = {
        labels: count
        for labels, count in scrape(worker).items()
        if labels.startswith("entrepot_mirror_answers_total")
    }
    answers = "entrepot_mirror_answers_total{{outcome={},type=blob,upstream={}}}".format
    assert counts[answers("hit", "hub.test")] == counts[answers("hit", "added.test")] == 1
    assert counts[answers("miss", "other")] == MOST_UNLISTED
    assert len(counts) == MOST_UNLISTED + 3
