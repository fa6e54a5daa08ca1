"""What the server tells its operator: request ids, the access log, metrics, health."""

import json
import re
import signal
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from entrepot.protocol.challenges import render_basic
from tests.http_client import Client
from tests.integration.conformance.content import random_blob
from tests.integration.conformance.expectations import assert_refused
from tests.integration.conformance.repository import Repository
from tests.integration.conftest import StartServer
from tests.server import RunningServer
from tests.waiting import wait_until
from tests.wire import Wire, request

Sample = tuple[str, tuple[tuple[str, str], ...]]


def scrape(client: Client) -> dict[Sample, float]:
    """Return all samples by name and labels."""
    response = client.get("/metrics")
    assert response.status == 200
    assert (response.header("Content-Type") or "").startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.body.decode())
        for sample in family.samples
    }


def total(samples: dict[Sample, float], name: str, **labels: str) -> float:
    """Return the sum of a metric over what the labels leave open."""
    wanted = set(labels.items())
    return sum(v for (found, items), v in samples.items() if found == name and wanted <= {*items})


# ── metrics ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("private", "status"), [("*", 401), ("secret/*", 200)])
def test_metrics_need_the_login_where_everything_does(
    start_server: StartServer, private: str, status: int
) -> None:
    """PX-03: nobody learns from them what a private server mirrors; probes go on without login."""
    login = {"access.username": "ada", "access.password": "a long password"}
    server = start_server(settings={**login, "access.private": private})
    with server.client() as client:
        refused = client.get("/metrics")
        assert refused.status == status
        if status == 401:
            assert refused.header("WWW-Authenticate") == 'Basic realm="Entrepot"'
            assert b"registry_http" not in refused.body
        user = {"Authorization": render_basic("ada", "a long password")}
        assert b"registry_http" in client.get("/metrics", user).body
        assert client.get("/livez").status == client.get("/readyz").status == 200


def test_counts_are_right_whichever_worker_is_asked(start_server: StartServer) -> None:
    """A connection each, so that every worker has its share."""
    server = start_server(workers=3)
    blob = random_blob(5000)
    with server.client() as client:
        assert Repository(client, "tests/metrics").push(blob, "post only").status == 201
    for n in range(60):
        with server.client() as client:
            client.get("/v2/")
            client.get(f"/v2/tests/metrics/blobs/{blob.digest}")
            client.head(f"/v2/tests/metrics/manifests/tag-{n}")
            client.get("/v2/tests/metrics/manifests/.not-a-tag")
    expected = {
        ("base", "get", "200"): 60,
        ("blob", "get", "200"): 60,
        ("manifest", "head", "404"): 60,
        ("blob_upload", "post", "201"): 1,
    }

    def counted() -> dict[tuple[str, str, str], float]:
        with server.client() as client:
            samples = scrape(client)
        name = "registry_http_requests_total"
        return {
            (handler, method, code): total(samples, name, handler=handler, method=method, code=code)
            for handler, method, code in expected
        }

    wait_until(lambda: counted() == expected)  # workers flush a few times per second
    assert [counted() for _ in range(10)] == [expected] * 10


def test_metrics_have_the_names_that_dashboards_know(server: RunningServer, client: Client) -> None:
    repository = Repository(client, "tests/metrics")
    blob = random_blob(5000)
    assert repository.push(blob, "post only").status == 201
    assert repository.get_blob(blob.digest).status == 200
    samples = scrape(client)
    names = {name for name, _ in samples}
    assert names >= {
        "registry_http_requests_total",
        "registry_http_request_duration_seconds_bucket",
        "registry_http_request_duration_seconds_count",
        "registry_http_request_duration_seconds_sum",
        "registry_http_in_flight_requests",
        "registry_http_request_size_bytes_sum",
        "registry_http_response_size_bytes_sum",
        "entrepot_build_info",
    }
    assert total(samples, "registry_http_request_size_bytes_sum", handler="blob_upload") >= 5000
    assert total(samples, "registry_http_response_size_bytes_sum", handler="blob") >= 5000


@pytest.mark.slow
def test_a_request_is_in_flight_until_it_has_ended(start_server: StartServer) -> None:
    server = start_server(workers=2)
    with server.client() as client, Wire.to(server) as wire:
        location = Repository(client, "tests/flight").start_upload()
        wire.send(request("PATCH", location, "Content-Length: 10") + b"half")

        def flying() -> float:
            samples = scrape(client)
            return total(samples, "registry_http_in_flight_requests", handler="blob_upload_chunk")

        wait_until(lambda: flying() == 1)
        wire.send(b"-other")
        assert wire.response("PATCH").status == 202
        wait_until(lambda: flying() == 0)


@pytest.mark.slow
def test_counters_do_not_fall_when_a_worker_dies(start_server: StartServer) -> None:
    server = start_server(workers=2)
    for _ in range(30):
        with server.client() as client:
            assert client.get("/v2/").status == 200

    def counted() -> float:
        with server.client() as client:
            return total(scrape(client), "registry_http_requests_total", handler="base")

    wait_until(lambda: counted() == 30)
    workers = server.workers
    server.signal(workers[0], signal.SIGKILL)
    wait_until(lambda: len(server.workers) == 2 and server.workers != workers)
    assert counted() == 30


def test_made_up_methods_make_no_new_series(client: Client) -> None:
    """Or any client could fill the memory of Prometheus."""
    for method in ("PROPFIND", "MKCOL", "LOCK", "PURGE"):
        assert client.request(method, "/v2/").status == 405
    methods = {dict(labels).get("method") for _, labels in scrape(client)}
    assert methods <= {None, "get", "head", "post", "put", "patch", "delete", "options", "unknown"}


# ── the access log ───────────────────────────────────────────────────────────────────────────


def lines(server: RunningServer) -> list[dict[str, Any]]:
    """Return the log; every line is one JSON object."""
    return [json.loads(line) for line in server.log().splitlines()]


def test_a_request_is_one_line_that_has_its_id(start_server: StartServer) -> None:
    server = start_server(workers=2)
    with server.client() as client:
        response = client.get(
            "/v2/tests/log/tags/list?n=5", {"User-Agent": 'agent "x"\u00e9\\', "Referer": "r"}
        )
    identity = response.header("X-Request-Id")
    assert identity
    wait_until(lambda: identity in server.log())
    (line,) = [line for line in lines(server) if line.get("request") == identity]
    assert line["event"] == "request"
    assert line["level"] == "info"
    assert line["method"] == "GET"
    assert line["target"] == "/v2/tests/log/tags/list?n=5"
    assert line["status"] == response.status == 404
    assert line["sent"] == len(response.body)
    assert line["client"] == "127.0.0.1"
    assert line["agent"] == 'agent "x"\u00e9\\'
    assert 0 < line["ms"] < 60_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])


def test_no_two_requests_share_an_id(server: RunningServer) -> None:
    identities = set()
    for _ in range(40):
        with server.client() as client:
            identities |= {client.get("/v2/").header("X-Request-Id") for _ in range(3)}
    assert len(identities) == 120


SECRET = "hunter2-s3cr3t-value"


def test_secrets_never_reach_the_log(start_server: StartServer) -> None:
    """Not from headers, not from queries, in whatever request they come, malformed ones too."""
    server = start_server(workers=2, settings={"log.level": "debug"})
    headers = {
        "Authorization": f"Bearer {SECRET}",
        "Cookie": f"session={SECRET}",
        "Proxy-Authorization": f"Basic {SECRET}",
        "X-Api-Key": SECRET,
    }
    queries = [f"{key}={SECRET}" for key in ("token", "password", "sig", "X-Amz-Signature", "_st")]
    with server.client() as client:
        for query in queries:
            assert client.get(f"/v2/?{query}&n=1", headers).status == 200
            assert (
                client.put(f"/v2/tests/log/manifests/latest?{query}", b"{}", headers).status == 400
            )
            assert client.get(f"/nowhere?{query}", headers).status == 404
        last = client.get("/v2/", headers).header("X-Request-Id") or "?"
    with Wire.to(server) as wire:
        wire.send(f"GET /v2/?token={SECRET} HTTP/1.1\r\nBad Name: {SECRET}\r\n\r\n".encode())
        assert wire.response().status == 400
    with Wire.to(server) as wire:
        wire.send(f"{SECRET} /v2/ HTTP/1.1\r\n\r\n".encode())
        assert wire.response().status in (400, 501)
    wait_until(lambda: last in server.log())
    assert server.stop() == 0
    assert '"status":400' in server.log()
    assert SECRET not in server.log()


@pytest.mark.slow
def test_lines_of_several_workers_do_not_mix(start_server: StartServer) -> None:
    server = start_server(workers=3)
    agent = "a" * 250
    for n in range(60):
        with server.client() as client:
            for _ in range(10):
                client.get(f"/v2/tests/log-{n}/tags/list", {"User-Agent": agent})
    assert server.stop() == 0
    found = [line for line in lines(server) if line.get("agent") == agent]
    assert len(found) == 600


def test_what_never_became_a_request_is_logged_with_its_client(
    start_server: StartServer,
) -> None:
    server = start_server()
    with Wire.to(server) as wire:
        wire.send(b"nonsense\r\n\r\n")
        assert wire.response().status in (400, 501)
    assert server.stop() == 0
    (line,) = [line for line in lines(server) if line.get("status") in (400, 501)]
    assert line["client"] == "127.0.0.1"


@pytest.mark.slow
def test_the_access_log_can_be_switched_off(start_server: StartServer) -> None:
    server = start_server(settings={"server.access_log": "false"})
    with server.client() as client:
        assert client.get("/v2/").status == 200
    assert server.stop() == 0
    assert [line["event"] for line in lines(server)] == ["listening"]


# ── health ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/healthz"])
def test_a_server_that_runs_is_alive_and_ready(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status == 200
    assert response.json()["status"] in ("alive", "healthy")
    head = client.head(path)
    assert (head.status, head.header("Content-Length")) == (200, str(len(response.body)))


def test_what_is_nowhere_says_where_the_api_is(client: Client) -> None:
    assert "/v2/" in assert_refused(client.get("/index.html"), 404, "NOT_FOUND")["message"]
