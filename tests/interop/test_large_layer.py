"""A layer of 1 GiB goes through in constant memory."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop import images
from tests.interop.clients import LAYOUT_CLIENTS, LayoutClient
from tests.interop.images import TAG
from tests.interop.layouts import Layout
from tests.interop.memory import PeakMemory, memory
from tests.interop.sandbox import Sandbox
from tests.interop.servers import stop
from tests.programs import require_program
from tests.server import RunningServer

pytestmark = [pytest.mark.slow, pytest.mark.real]

MIB = 1024 * 1024
MAY_GROW = 100 * MIB
"""Bytes that all of the server's processes together may take beyond what they took before."""


@pytest.fixture(scope="module")
def large(new_folder: Callable[[str], Path]) -> Layout:
    """The layout of an image with one layer of 1 GiB, which nothing can compress."""
    return images.large(new_folder("large") / "layout", os.urandom(MIB), 1024)


@pytest.fixture(scope="module")
def roomy_server(new_folder: Callable[[str], Path]) -> Iterator[RunningServer]:
    """A server with two workers that has served nothing yet."""
    server = RunningServer(new_folder("roomy"), workers=2)
    yield server
    stop(server)


@pytest.mark.parametrize(("pusher", "puller"), [("crane", "skopeo"), ("oras", "regctl")])
def test_memory_stays_constant(
    large: Layout,
    busybox: Layout,
    roomy_server: RunningServer,
    new_sandbox: Callable[[], Sandbox],
    pusher: str,
    puller: str,
) -> None:
    uploader, downloader = (_client(name, new_sandbox()) for name in (pusher, puller))
    repository = f"{roomy_server.host}/tests/{pusher}"
    uploader.upload(busybox, f"{repository}:small")
    downloader.download(f"{repository}:small", "small")
    before = memory(roomy_server)

    with PeakMemory(roomy_server) as peak:
        uploader.upload(large, f"{repository}:{TAG}")
        pulled = downloader.download(f"{repository}:{TAG}", "pulled")

    assert pulled.image(pulled.find()) == large.image(large.find())
    assert 0 < peak.bytes < before + MAY_GROW
    shutil.rmtree(pulled.path)


def _client(name: str, sandbox: Sandbox) -> LayoutClient:
    require_program(name)
    return LAYOUT_CLIENTS[name](sandbox)
