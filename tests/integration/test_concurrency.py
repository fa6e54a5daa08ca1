"""Many clients at once on several workers: nothing is lost, nothing fails, nothing is mixed up."""

import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from entrepot.testing.postgresql import PostgresqlMissing, postgresql_server
from tests.http_client import Client, Response, with_query
from tests.integration.conformance.content import (
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    Content,
    document,
    manifest,
    random_blob,
)
from tests.integration.conformance.expectations import assert_refused
from tests.integration.conformance.repository import (
    AS_OCTETS,
    WAYS,
    Repository,
    content_range,
    moved_on,
)
from tests.integration.conftest import StartServer
from tests.integration.pushers import Image, assert_whole
from tests.programs import NOT_RUN
from tests.server import RunningServer
from tests.wire import Wire, request

THREADS = 32
REPOSITORIES = ("many/one", "many/two", "many/three", "many/four")


class Crowd:
    """Clients that push and pull images over a shared stock of layers, a connection each.

    Every response is noted, so that none can fail unseen.
    """

    def __init__(self, server: RunningServer, seed: int) -> None:
        self._server = server
        self._seed = seed
        dice = random.Random(seed)
        sizes = [1, 100, 3000, 20_000, 65_536, 65_537, 150_000, 400_000]
        self._stock = [Content(dice.randbytes(size), OCI_LAYER_GZIP) for size in sizes]
        self._numbers = count()
        self._lock = threading.Lock()
        self.pushed: list[Image] = []
        self.latest: defaultdict[str, set[str]] = defaultdict(set)
        self.unexpected: list[Response] = []

    def work(self, pushes: int) -> None:
        """Push so many images, with a pull beside every push."""
        with ThreadPoolExecutor(THREADS) as pool:
            for future in [pool.submit(self._one, n) for n in range(pushes)]:
                future.result()

    def _one(self, number: int) -> None:
        dice = random.Random(self._seed * 10_000 + number)
        with self._server.client(timeout=60) as client:
            repository = Repository(client, dice.choice(REPOSITORIES))
            image = self._image(dice, repository.name, f"tag-{number}")
            for blob in image.blobs:
                self._push_blob(dice, repository, blob)
            self._expect(repository.put_manifest(image.manifest, image.tag), 201)
            self._expect(repository.put_manifest(image.manifest, "latest"), 201)
            with self._lock:
                self.pushed.append(image)
                self.latest[repository.name].add(image.manifest.digest)
                other = dice.choice(self.pushed)
            assert_whole(client, other)

    def _image(self, dice: random.Random, repository: str, tag: str) -> Image:
        layers = dice.sample(self._stock, 3)
        config = document({"author": tag}, OCI_CONFIG)
        body = manifest(config.descriptor(), [layer.descriptor() for layer in layers])
        return Image(repository, tag, (*layers, config), body)

    def _push_blob(self, dice: random.Random, repository: Repository, blob: Content) -> None:
        """As clients do: look first, then try to mount, then upload in some way."""
        found = repository.head_blob(blob.digest)
        self._expect(found, 200, 404)
        if found.status == 200 and dice.random() < 0.8:
            return
        if dice.random() < 0.3:
            mounted = repository.post_upload(mount=blob.digest)
            self._expect(mounted, 201, 202)
            if mounted.status == 202:  # then it is an upload like any other
                location = moved_on(mounted)
                self._expect(repository.close_upload(location, blob.digest, blob.content), 201)
            return
        ways = [way for way in WAYS if not way.startswith("chunked") or len(blob.content) < 5000]
        self._expect(WAYS[dice.choice(ways)](repository, blob.content, blob.digest), 201)

    def _expect(self, response: Response, *statuses: int) -> None:
        if response.status not in statuses:
            self.unexpected.append(response)
        assert response.status in statuses, response


def assert_nothing_lost(server: RunningServer, crowd: Crowd) -> None:
    assert not crowd.unexpected
    with server.client(timeout=60) as client:
        for name in REPOSITORIES:
            repository = Repository(client, name)
            mine = [image for image in crowd.pushed if image.repository == name]
            assert set(repository.tags("n=2000").json()["tags"]) == {
                "latest",
                *(image.tag for image in mine),
            }
            latest = repository.head_manifest("latest").header("Docker-Content-Digest")
            assert latest in crowd.latest[name]
        for image in crowd.pushed:
            assert_whole(client, image)
    assert not list((server.data / "ingests").iterdir())


def assert_no_5xx(server: RunningServer) -> None:
    assert server.stop() == 0
    assert '"status":5' not in server.log()


@pytest.mark.parametrize(
    "pushes", [80, pytest.param(1000, marks=pytest.mark.slow)], ids="{} pushes".format
)
def test_pushes_and_pulls_of_shared_layers(start_server: StartServer, pushes: int) -> None:
    server = start_server(workers=4)
    crowd = Crowd(server, seed=pushes)
    crowd.work(pushes)
    assert len(crowd.pushed) == pushes
    assert_nothing_lost(server, crowd)
    assert_no_5xx(server)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URL of an empty database on a real PostgreSQL."""
    try:
        with postgresql_server() as running:
            yield running.url(running.create_database())
    except PostgresqlMissing as missing:
        pytest.skip(f"{NOT_RUN}{missing}")


@pytest.mark.slow
def test_pushes_and_pulls_on_postgresql(start_server: StartServer, database: str) -> None:
    server = start_server(workers=4, settings={"metadata.url": database})
    crowd = Crowd(server, seed=1)
    crowd.work(80)
    assert_nothing_lost(server, crowd)
    assert not list(server.data.glob("metadata.db-*")), "SQLite was opened"
    server.stop()
    server.start()
    assert_nothing_lost(server, crowd)
    assert_no_5xx(server)


@pytest.mark.slow
def test_two_servers_share_a_data_directory(start_server: StartServer) -> None:
    """An upload begun at one goes on at the other, and what one stores the other serves."""
    first = start_server(workers=2)
    second = start_server(workers=2, data=first.data)
    with first.client() as here, second.client() as there:
        mine, yours = Repository(here, "many/shared"), Repository(there, "many/shared")
        for number in range(10):
            blob = random_blob(90_000, media_type=OCI_CONFIG)
            location = mine.start_upload()
            for start in range(0, 90_000, 30_000):
                repository = (mine, yours)[(number + start // 30_000) % 2]
                repository.put_chunk(location, blob.content[start : start + 30_000], start)
            assert yours.close_upload(location, blob.digest).status == 201
            body = manifest(blob.descriptor(), [])
            assert mine.put_manifest(body, f"tag-{number}").status == 201
            assert yours.get_manifest(f"tag-{number}").body == body.content
            assert mine.get_blob(blob.digest).body == blob.content
            assert yours.delete_manifest(f"tag-{number}").status == 202
            assert mine.head_manifest(f"tag-{number}").status == 404


# ── the same thing at once ───────────────────────────────────────────────────────────────────


def at_once(server: RunningServer, jobs: list[Callable[[Client], Response]]) -> list[Response]:
    """Run each on a connection of its own, all started together; return their results."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[Client], Response]) -> Response:
        with server.client() as client:
            client.get("/livez")  # connected, so that nothing but the request is left to do
            barrier.wait()
            return job(client)

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def test_an_upload_being_written_is_busy(server: RunningServer, name: str) -> None:
    """Whatever the second request is, it is refused and told to come again."""
    blob = random_blob(1000)
    with server.client() as client, Wire.to(server) as first:
        repository = Repository(client, name)
        location = repository.start_upload()
        first.send(request("PATCH", location, "Content-Length: 1000", "Expect: 100-continue"))
        assert first.response("PATCH").status == 100  # from here on it holds the upload
        for second in (
            repository.put_chunk(location, blob.content, 0),
            repository.close_upload(location, blob.digest),
            repository.close_upload(location, blob.digest, blob.content),
        ):
            assert_refused(second, 409, "BLOB_UPLOAD_INVALID")
            assert second.header("Retry-After")
            client.close()  # what was refused may have left an unread body
        assert client.get(location).status == 204
        first.send(blob.content)
        assert first.response("PATCH").status == 202
        assert repository.close_upload(location, blob.digest).status == 201
        assert repository.get_blob(blob.digest).body == blob.content


@pytest.mark.parametrize("writers", [2, 6])
def test_of_those_who_write_the_same_chunk_one_wins(
    server: RunningServer, name: str, writers: int
) -> None:
    blob = random_blob(300_000)
    with server.client() as client:
        repository = Repository(client, name)
        for _ in range(8):
            location = repository.start_upload()
            for start in (0, 100_000, 200_000):
                chunk = blob.content[start : start + 100_000]
                headers = content_range(chunk, start)

                def send(
                    other: Client, chunk: bytes = chunk, headers: dict[str, str] = headers
                ) -> Response:
                    return other.patch(location, chunk, headers)  # noqa: B023  run before the next

                answers = at_once(server, [send] * writers)
                statuses = sorted(answer.status for answer in answers)
                assert statuses[0] == 202
                assert set(statuses[1:]) <= {409, 416}, statuses
            assert repository.close_upload(location, blob.digest).status == 201
        assert repository.get_blob(blob.digest).body == blob.content


def test_of_those_who_close_an_upload_one_wins(server: RunningServer, name: str) -> None:
    with server.client() as client:
        repository = Repository(client, name)
        for _ in range(10):
            blob = random_blob(50_000)
            location = repository.start_upload()
            location = moved_on(repository.put_chunk(location, blob.content, 0))
            target = with_query(location, {"digest": blob.digest})

            def close(other: Client, target: str = target) -> Response:
                return other.put(target, b"", AS_OCTETS)

            statuses = sorted(answer.status for answer in at_once(server, [close] * 4))
            assert statuses[0] == 201
            assert set(statuses) <= {201, 404, 409}, statuses
            assert repository.get_blob(blob.digest).body == blob.content


def test_a_cancel_during_a_write_ends_the_upload(server: RunningServer, name: str) -> None:
    with server.client() as client, Wire.to(server) as writer:
        repository = Repository(client, name)
        location = repository.start_upload()
        writer.send(request("PATCH", location, "Content-Length: 1000", "Expect: 100-continue"))
        assert writer.response("PATCH").status == 100
        cancelled = client.delete(location)
        assert cancelled.status in (204, 409)
        writer.send(bytes(1000))
        answer = writer.response("PATCH")
        if cancelled.status == 204:
            assert_refused(answer, 404, "BLOB_UPLOAD_UNKNOWN")
            assert client.get(location).status == 404
        else:
            assert answer.status == 202


def test_the_same_blob_pushed_by_many_at_once(server: RunningServer, name: str) -> None:
    ways = list(WAYS.values())
    for size in (10, 4000, 20_000):
        blob = random_blob(size)

        def push(other: Client, number: int, blob: Content = blob) -> Response:
            repository = Repository(other, f"{name}-{number % 2}")
            return ways[number % len(ways)](repository, blob.content, blob.digest)

        jobs = [lambda other, number=number: push(other, number) for number in range(10)]
        assert {answer.status for answer in at_once(server, jobs)} == {201}
        with server.client() as client:
            for number in (0, 1):
                found = Repository(client, f"{name}-{number}").get_blob(blob.digest)
                assert found.body == blob.content


def test_the_same_tag_moved_by_many_at_once(server: RunningServer, name: str) -> None:
    """It ends at one of them, and all manifests are there by digest."""
    with server.client() as client:
        repository = Repository(client, name)
        config = random_blob(50, media_type=OCI_CONFIG)
        assert repository.push(config).status == 201
        bodies = [manifest(config.descriptor(), [], annotations={"n": str(n)}) for n in range(12)]
        jobs = [
            lambda other, body=body: Repository(other, name).put_manifest(body, "moving")
            for body in bodies
        ]
        assert {answer.status for answer in at_once(server, jobs)} == {201}
        found = repository.get_manifest("moving")
        assert found.body in {body.content for body in bodies}
        for body in bodies:
            assert repository.get_manifest(body.digest).body == body.content
        assert repository.tags().json()["tags"] == ["moving"]


def test_a_delete_and_a_push_at_once_leave_nothing_half_done(
    server: RunningServer, name: str
) -> None:
    """Either the manifest is there with its tag, or neither is."""
    with server.client() as client:
        repository = Repository(client, name)
        config = random_blob(50, media_type=OCI_CONFIG)
        assert repository.push(config).status == 201
        for number in range(15):
            body = manifest(config.descriptor(), [], annotations={"n": str(number)})
            assert repository.put_manifest(body, "both").status == 201
            pushed, deleted = at_once(
                server,
                [
                    lambda other, body=body: Repository(other, name).put_manifest(body, "both"),
                    lambda other, body=body: Repository(other, name).delete_manifest(body.digest),
                ],
            )
            assert (pushed.status, deleted.status) == (201, 202)
            by_tag, by_digest = (repository.get_manifest(r) for r in ("both", body.digest))
            assert by_tag.status == by_digest.status
            assert by_tag.status in (200, 404)
            if by_tag.status == 200:
                assert by_tag.body == by_digest.body == body.content
