"""`kill -9` at any moment: what was acknowledged is there, what was not verified is nowhere."""

import os
import random
import subprocess
import threading
import time
from functools import partial
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.http_client import Client
from tests.integration.conformance.content import Content, digest_of, random_blob
from tests.integration.conformance.repository import Repository, moved_on
from tests.integration.conftest import StartServer
from tests.integration.directory_watch import watch_directories
from tests.integration.pushers import BROKEN, Image, Ledger, Pusher, Started, assert_whole
from tests.server import RunningServer
from tests.waiting import wait_until

PUSHERS = 4
MOST = 1 << 19
"""Bytes of a layer; enough that many kills come in the middle of one."""
START_LIMIT = 10.0
"""Seconds; what a restart takes on a machine that is busy with other tests."""


@pytest.mark.parametrize(
    ("rounds", "durable"),
    [
        pytest.param(3, "true", id="3 rounds"),
        pytest.param(20, "true", id="20 rounds", marks=pytest.mark.slow),
        pytest.param(10, "false", id="10 rounds, not durable", marks=pytest.mark.slow),
    ],
)
def test_killed_while_images_are_pushed(
    start_server: StartServer, rounds: int, durable: str
) -> None:
    """A crash of the processes loses nothing, whether or not writes are synced."""
    server = start_server(workers=2, settings={"storage.durable": durable})
    dice = random.Random(rounds)
    known: list[Image] = []
    for number in range(rounds):
        ledgers = push_until_killed(server, number, after=dice.uniform(0.05, 0.6))
        restart(server)
        with server.client() as client:
            for ledger in ledgers:
                assert not ledger.refusals
                for image in ledger.acknowledged:
                    assert_whole(client, image)
                assert_nothing_unverified(client, ledger)
                for upload in ledger.interrupted:
                    resume(Repository(client, upload.repository), upload)
        known += [image for ledger in ledgers for image in ledger.acknowledged]
        assert_stored_content_is_what_it_says(server)
    assert known, "the server was always killed before the first push had ended"
    with server.client() as client:
        for image in known:
            assert_whole(client, image)


def push_until_killed(server: RunningServer, number: int, *, after: float) -> list[Ledger]:
    """Push with several clients; kill parent and workers after so many seconds."""
    enough = threading.Event()
    pushers = [
        Pusher(
            server.client(),
            f"crash/team-{seed}",
            number * 100 + seed,
            enough,
            first=number * 1000,
            most=MOST,
        )
        for seed in range(PUSHERS)
    ]
    for pusher in pushers:
        pusher.start()
    time.sleep(after)  # the random point
    server.kill()
    enough.set()
    for pusher in pushers:
        pusher.join(30)
        assert not pusher.is_alive()
    return [pusher.ledger for pusher in pushers]


def restart(server: RunningServer) -> None:
    started = time.monotonic()
    server.start()
    assert time.monotonic() - started < START_LIMIT


def assert_nothing_unverified(client: Client, ledger: Ledger) -> None:
    """Of what was pushed without an answer everything is whole or not there at all."""
    for image in ledger.attempted:
        repository = Repository(client, image.repository)
        found = repository.get_manifest(image.tag)
        assert found.status in (200, 404), found
        if found.status == 200:
            assert_whole(client, image)
        for blob in image.blobs:
            got = repository.get_blob(blob.digest)
            assert got.status in (200, 404), got
            assert got.status == 404 or digest_of(got.body) == blob.digest
    for name in {image.repository for image in ledger.attempted}:
        listed = Repository(client, name).tags()
        assert listed.status in (200, 404)
        tried = {image.tag for image in ledger.attempted}
        first = min(int(tag.rpartition("-")[2]) for tag in tried)
        new = {
            tag
            for tag in (listed.json().get("tags") or [] if listed.status == 200 else [])
            if int(tag.rpartition("-")[2]) >= first
        }
        assert {image.tag for image in ledger.acknowledged} <= new <= tried


def assert_stored_content_is_what_it_says(server: RunningServer) -> None:
    """Every file that stands under a digest has that digest."""
    for file in server.data.glob("blobs/*/*/*"):
        assert digest_of(file.read_bytes(), file.parent.parent.name).endswith(f":{file.name}")


def resume(repository: Repository, upload: Started) -> None:
    """Go on from where the server says that the upload is, as a client does."""
    client, blob = repository.client, upload.blob
    status = client.get(upload.location)
    if upload.closing and status.status == 404:
        # It had been verified, or was about to be linked: the client begins anew.
        assert repository.push(blob, "post+put").status == 201
        assert repository.get_blob(blob.digest).body == blob.content
        return
    assert status.status == 204, status
    end = int((status.header("Range") or "").removeprefix("0-"))
    assert upload.acknowledged <= max(end + 1, 1)
    location = append_rest(repository, status.header("Location") or "", blob, end)
    assert repository.close_upload(location, blob.digest).status == 201
    assert repository.get_blob(blob.digest).body == blob.content


def append_rest(repository: Repository, location: str, blob: Content, end: int) -> str:
    """Send what is missing behind byte `end`; return where the upload goes on.

    `0-0` is the range of an empty upload and of one byte: a 416 tells them apart.
    """
    for start in (0, 1) if end == 0 else (end + 1,):
        if not (rest := blob.content[start:]):
            return location
        response = repository.put_chunk(location, rest, start)
        if response.status != 416 or start != 0:
            return moved_on(response)
    raise AssertionError("an upload of no known length")


# ── one upload, killed at a known point ──────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("algorithm", "crashes"),
    [("sha256", 2), pytest.param("sha512", 6, marks=pytest.mark.slow)],
)
def test_an_upload_goes_on_after_every_crash(
    start_server: StartServer, algorithm: str, crashes: int
) -> None:
    """However often it dies between chunks, no byte that was acknowledged is lost."""
    server = start_server(workers=2)
    blob = random_blob(crashes * 100_000, algorithm=algorithm)
    with server.client() as client:
        repository = Repository(client, "crash/steps")
        location = repository.start_upload(digest_algorithm=algorithm)
        for start in range(0, len(blob.content), 100_000):
            chunk = blob.content[start : start + 100_000]
            location = moved_on(repository.put_chunk(location, chunk, start))
            server.kill()
            client.close()
            restart(server)
            status = client.get(location)
            assert (status.status, status.header("Range")) == (204, f"0-{start + 99_999}")
        assert repository.close_upload(location, blob.digest).status == 201
        assert repository.get_blob(blob.digest).body == blob.content


@pytest.mark.slow
def test_what_was_begun_and_not_ended_is_not_content(start_server: StartServer) -> None:
    """A manifest cannot rest on an upload that has all its bytes and was never closed."""
    server = start_server()
    blob = random_blob(1000)
    with server.client() as client:
        repository = Repository(client, "crash/open")
        location = moved_on(repository.put_chunk(repository.start_upload(), blob.content, 0))
        server.kill()
        client.close()
        restart(server)
        assert repository.head_blob(blob.digest).status == 404
        assert repository.close_upload(location, blob.digest).status == 201


# ── parents and starts ───────────────────────────────────────────────────────────────────────


def test_workers_end_with_their_parent(start_server: StartServer) -> None:
    """None is left behind that serves on, holds the port and knows no end."""
    server = start_server(workers=3)
    workers = server.workers
    server.signal(server.process.pid, SIGKILL)
    server.process.wait(10)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    server.kill()
    restart(server)


@pytest.mark.slow
def test_killed_while_it_starts_for_the_first_time(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Its database is half made, or not at all; the next start does what is left to do."""
    dice = random.Random(1)
    for number in range(5):
        data = tmp_path / f"data-{number}"
        command = [RunningServer.program(), "serve", "--data", str(data), "--listen", "127.0.0.1:0"]
        with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as first:
            time.sleep(dice.uniform(0.1, 1.5))  # the random point
            os.killpg(first.pid, SIGKILL)
        server = start_server(data=data)
        with server.client() as client:
            assert Repository(client, "crash/first").push(random_blob()).status == 201
        assert server.stop() == 0


def test_a_start_looks_at_no_content(start_server: StartServer) -> None:
    """However much is stored: no directory of content is listed, no file opened."""
    server = start_server(workers=2)
    with server.client() as client:
        repository = Repository(client, "crash/start")
        blobs = [random_blob(1000) for _ in range(40)]
        for blob in blobs:
            assert repository.push(blob, "post only").status == 201
    server.kill()
    with watch_directories(list(server.data.glob("blobs/*/*"))) as seen:
        restart(server)
        with server.client() as client:
            assert client.get("/v2/_catalog").json()["repositories"] == ["crash/start"]
        assert seen() == []
        with server.client() as client:  # the watch does see what is read
            assert client.get(f"/v2/crash/start/blobs/{blobs[0].digest}").status == 200
        assert seen()


# ── one worker ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "kills", [2, pytest.param(12, marks=pytest.mark.slow)], ids=["2 kills", "12 kills"]
)
def test_a_worker_that_is_killed_is_replaced(start_server: StartServer, kills: int) -> None:
    """Its connections break; everyone who tries again is served, and no push is lost."""
    server = start_server(workers=3)
    enough = threading.Event()
    pushers = [
        Pusher(server.client(), f"crash/team-{seed}", seed, enough, most=1 << 16, patient=True)
        for seed in range(PUSHERS)
    ]
    for pusher in pushers:
        pusher.start()
    dice = random.Random(kills)
    for _ in range(kills):
        before = server.workers
        victim = dice.choice(before)
        server.signal(victim, SIGKILL)
        wait_until(partial(is_replaced, server, victim))
        with server.client() as client:
            assert get_again(client) == 200
    enough.set()
    for pusher in pushers:
        pusher.join(30)
        assert not pusher.is_alive()
    with server.client() as client:
        for pusher in pushers:
            assert not pusher.ledger.refusals
            assert pusher.ledger.acknowledged
            for image in pusher.ledger.acknowledged:
                assert_whole(client, image)
    assert server.log().count('"worker died"') == kills
    assert server.stop() == 0


def is_replaced(server: RunningServer, victim: int) -> bool:
    return len(server.workers) == 3 and victim not in server.workers


def get_again(client: Client) -> int:
    """Ask until there is an answer: a connection that waited for the dead worker may break."""
    while True:
        try:
            return client.get("/v2/").status
        except BROKEN:
            client.close()
