"""Any request to the application: a sound answer, no fault, no file where none belongs."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given

from tests.fuzz.application import Application
from tests.fuzz.requests import KNOWN, NAMES, Asked, fuzz, proper_pushes, pushes, requests
from tests.fuzz.rules import assert_confined, assert_sound
from tests.http_client import Client
from tests.integration.conformance.content import digest_of
from tests.integration.conformance.repository import AS_OCTETS
from tests.server import RunningServer
from tests.wire import Wire, request


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def application(folder: Path) -> Iterator[Application]:
    application = Application(folder)
    store_something(application)
    yield application
    application.close()


def store_something(target: Application | Client) -> None:
    """Push what requests may meet."""
    for name in NAMES:
        for content in KNOWN:
            for algorithm in ("sha256", "sha512"):
                digest = digest_of(content, algorithm)
                path = f"/v2/{name}/blobs/uploads/?digest={digest}"
                answer = target.request("POST", path, content, list(AS_OCTETS.items()))
                assert answer.status == 201, answer


def ask(application: Application, asked: Asked) -> None:
    response = application.request(asked.method, asked.target, asked.body, asked.headers)
    assert_sound(response, method=asked.method)
    assert response.header("X-Request-Id")
    assert application.faults == []


@fuzz
@given(asked=requests)
def test_any_request(application: Application, asked: Asked) -> None:
    ask(application, asked)


@fuzz
@given(asked=pushes)
def test_any_manifest(application: Application, asked: Asked) -> None:
    ask(application, asked)


@fuzz
@given(asked=proper_pushes)
def test_a_manifest_that_was_taken_is_given_back(application: Application, asked: Asked) -> None:
    """Byte for byte, with a digest that is right, and it can be listed and deleted."""
    response = application.request("PUT", asked.target, asked.body, asked.headers)
    assume(response.status == 201)
    location = response.header("Location")
    assert location
    got = application.request("GET", location)
    assert (got.status, got.body) == (200, asked.body)
    digest = response.header("Docker-Content-Digest")
    assert digest == got.header("Docker-Content-Digest")
    assert digest == digest_of(asked.body, digest.partition(":")[0])
    assert_sound(got)
    name = location.removeprefix("/v2/").rpartition("/manifests/")[0]
    if subject := response.header("OCI-Subject"):
        listed = application.request("GET", f"/v2/{name}/referrers/{subject}")
        assert digest in {one["digest"] for one in listed.json()["manifests"]}
    assert application.request("DELETE", location).status == 202
    assert application.faults == []


def test_nothing_left_its_place(application: Application, folder: Path) -> None:
    """Runs last in this module: after all those requests every file is where it may be."""
    assert_confined(application.data)
    assert sorted(os.listdir(folder)) == ["data", "metrics"]


# ── the same over sockets ────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("fuzz-server"), workers=2)
    with server.client() as client:
        store_something(client)
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log()
    assert_confined(server.data)
    assert sorted(os.listdir(server.folder)) == ["data", "server.log"]


@fuzz
@given(asked=requests)
def test_any_request_over_a_socket(server: RunningServer, asked: Asked) -> None:
    with Wire.to(server) as wire:
        wire.send(as_bytes(asked))
        response = wire.response(asked.method)
        if response.status == 501:  # the server knows the methods of the HTTP registry only
            assert asked.method not in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")
        else:
            assert_sound(response, method=asked.method)
    with server.client() as client:
        assert client.get("/v2/").status == 200


def as_bytes(asked: Asked) -> bytes:
    """Return the request as it is sent; a target that would break the line is mended."""
    lines = [f"{name}: {value}" for name, value in asked.headers]
    target = re.sub(r"[\x00-\x20\x7f-\xff]", "_", asked.target)
    if not isinstance(asked.body, list):
        return request(asked.method, target, *lines, body=asked.body or b"")
    chunks = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in asked.body if chunk]
    head = request(asked.method, target, *lines, "Transfer-Encoding: chunked")
    return head + b"".join(chunks) + b"0\r\n\r\n"
