"""Repositories for the tests of the `/v2/` API."""

from collections.abc import Iterator

import pytest

from tests.http_client import Client
from tests.integration.conformance.repository import Repository
from tests.integration.conftest import run_server
from tests.server import RunningServer


@pytest.fixture
def repository(client: Client, name: str) -> Repository:
    """A repository of the shared server that does not exist yet."""
    return Repository(client, name)


@pytest.fixture
def other(client: Client, name: str) -> Repository:
    """A second one beside it."""
    return Repository(client, f"{name}-other")


@pytest.fixture(scope="session")
def sparse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that takes manifests whose blobs are not there, as the official suite needs."""
    settings = {"registry.require_blobs": "false"}
    yield from run_server(tmp_path_factory.mktemp("sparse"), workers=2, settings=settings)
