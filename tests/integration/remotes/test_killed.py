"""Whoever dies in the middle of a large push, client or server: what has arrived is not sent
again."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from entrepot.oci.errors import Unavailable
from entrepot.rules.retries import RetryPolicy
from entrepot.testing.image_end_contents import MIB, blob_of
from tests.docker_registry import RunningDockerRegistry
from tests.integration.conftest import StartServer
from tests.integration.remotes.pusher import BLOCKS, STALL, content
from tests.remote_registries import name, remote
from tests.server import RunningServer
from tests.waiting import wait_until
from tools.environment import ROOT

SLACK = 4 * MIB
"""What may be on its way, in buffers, when somebody dies."""

REPOSITORY = "tests/killed"

UNTIL_IT_IS_BACK = RetryPolicy(retries=60, first=0.5, most=0.5)
"""For whoever asks while a server starts again, which takes as long as the machine is busy."""


def arrived(server: RunningServer, notes: Path) -> int:
    """Return how much of the upload that is noted has arrived."""
    for file in notes.iterdir():
        location = json.loads(file.read_bytes() or b"{}").get("location")
        if location:
            with server.client() as client:
                told = client.request("GET", location).header("Range") or "0-0"
                return int(told.partition("-")[2])
    return 0


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture
def standing(start_server: StartServer, notes: Path) -> tuple[RunningServer, Path]:
    """A server to which a process has pushed 60 % of a blob when it was killed."""
    server = start_server()
    command = [sys.executable, "-m", "tests.integration.remotes.pusher"]
    process = subprocess.Popen(
        [*command, server.host, REPOSITORY, str(notes)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"standing\n"
    wait_until(lambda: arrived(server, notes) >= STALL - SLACK)
    process.kill()
    process.wait()
    process.stdout.close()
    return server, notes


async def test_a_killed_client_goes_on_in_the_next_process(
    standing: tuple[RunningServer, Path],
) -> None:
    server, notes = standing
    again = content()
    async with remote(server.host, uploads=notes) as registry:
        repository = registry.repository(name(REPOSITORY))
        assert not await repository.has_blob(again.descriptor)
        await repository.put_blob(again)
        assert await repository.blob_size(again.descriptor.digest) == again.descriptor.size
    assert again.offsets[0] >= STALL - SLACK
    assert not list(notes.iterdir())


async def test_both_may_be_killed(standing: tuple[RunningServer, Path]) -> None:
    server, notes = standing
    server.kill()
    server.start()
    again = content()
    async with remote(server.host, uploads=notes) as registry:
        await registry.repository(name(REPOSITORY)).put_blob(again)
    assert again.offsets[0] >= STALL - SLACK


async def test_a_killed_server_is_continued_when_it_is_back(
    start_server: StartServer, notes: Path
) -> None:
    server = start_server()
    sent = content(stalls=True)
    async with remote(server.host, uploads=notes, policy=UNTIL_IT_IS_BACK) as registry:
        repository = registry.repository(name(REPOSITORY))
        push = asyncio.create_task(repository.put_blob(sent))
        await sent.reached.wait()
        await asyncio.to_thread(wait_until, lambda: arrived(server, notes) >= STALL - SLACK)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        sent.resume()
        await push
        assert await repository.has_blob(sent.descriptor)
    first, second = sent.offsets
    assert first == 0
    assert second >= STALL - SLACK


async def test_a_server_that_stays_away_is_an_error_and_the_next_push_goes_on(
    start_server: StartServer, notes: Path
) -> None:
    server = start_server()
    sent = content(stalls=True)
    async with remote(server.host, uploads=notes) as registry:
        push = asyncio.create_task(registry.repository(name(REPOSITORY)).put_blob(sent))
        await sent.reached.wait()
        await asyncio.to_thread(wait_until, lambda: arrived(server, notes) >= STALL - SLACK)
        await asyncio.to_thread(server.kill)
        sent.resume()
        with pytest.raises(Unavailable):
            await push
    await asyncio.to_thread(server.start)
    again = content()
    async with remote(server.host, uploads=notes) as registry:
        await registry.repository(name(REPOSITORY)).put_blob(again)
    assert again.offsets[0] >= STALL - SLACK


async def test_a_server_that_dies_in_a_download_is_continued(start_server: StartServer) -> None:
    server = start_server()
    sent = content()
    async with remote(server.host) as registry:
        repository = registry.repository(name(REPOSITORY))
        await repository.put_blob(sent)
        chunks = repository.blob(sent.descriptor)
        first = await anext(chunks)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        rest = sum([len(chunk) async for chunk in chunks])
    assert len(first) + rest == BLOCKS * MIB


@pytest.mark.real("docker-registry")
async def test_docker_registry_gets_the_blob_after_all(tmp_path: Path, notes: Path) -> None:
    """It drops an upload that it knows less of than it has; the client begins anew."""
    server = RunningDockerRegistry(tmp_path / "docker-registry")
    try:
        sent = content(stalls=True)
        async with remote(server.host, uploads=notes, policy=UNTIL_IT_IS_BACK) as registry:
            repository = registry.repository(name(REPOSITORY))
            push = asyncio.create_task(repository.put_blob(sent))
            await sent.reached.wait()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            sent.resume()
            await push
            assert await repository.has_blob(sent.descriptor)
            assert len(await blob_of(repository, sent.descriptor, BLOCKS * MIB - 10)) == 10
    finally:
        server.kill()
