"""Who may read what through a mirror, under which names, and that it is what the upstream holds,
byte for byte (rows PX-01, PX-03, PX-06, BE-01, RD-02)."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.parser import BytesParser
from itertools import count
from typing import Any, Final

import pytest

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.testing import Exchange, MockImage, MockRegistry, Reply, Stall
from entrepot.testing.mock_content import Held
from tests.http_client import Client, Response, next_link
from tests.integration.conftest import assert_no_traceback
from tests.integration.mirror.conftest import StartMirror, cache_of
from tests.mirrors import MANIFESTS, UPSTREAM, RunningMirror, upstream_table
from tests.waiting import wait_until

LOCAL: Final = "localhost:5000"
"""An upstream that is named with a port; it is somewhere else, as the configuration says."""

_numbers = count(1)


@pytest.fixture(scope="module")
def registry() -> Iterator[MockRegistry]:
    with MockRegistry() as registry:
        yield registry


@pytest.fixture(scope="module")
def mirror(
    registry: MockRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningMirror]:
    quiet = {"probe_interval": '"0s"'}
    more = "\n".join(
        [
            "[proxy]",
            'default_registry = "docker.io"',
            'hosted = ["ours/*"]',
            upstream_table(registry, name="docker.io", settings=quiet),
            upstream_table(registry, name=LOCAL, settings=quiet),
        ]
    )
    folder = tmp_path_factory.mktemp("mirror")
    mirror = RunningMirror(
        folder, registry, cache={"negative_ttl": '"0s"'}, upstream=quiet, more=more
    )
    yield mirror
    assert mirror.stop() == 0
    assert_no_traceback(mirror)


@pytest.fixture
def client(mirror: RunningMirror) -> Iterator[Client]:
    with mirror.client() as client:
        yield client


@pytest.fixture
def name(registry: MockRegistry) -> Iterator[str]:
    """The name of a repository that no other test uses."""
    registry.clear_requests()
    yield f"tests/content-{next(_numbers)}"
    registry.heal()


def code(response: Response) -> str:
    return str(response.json()["errors"][0]["code"])


def message(response: Response) -> str:
    return str(response.json()["errors"][0]["message"])


# ── shared by digest, readable through who holds it ──────────────────────────────────────────────


def claim(registry: MockRegistry, name: str, image: MockImage) -> MockImage:
    """Add an image that lists another's blobs without having them: anybody can write that."""
    return registry.add_manifest(name, "1", image.manifest + b"\n", image.descriptor.media_type)


def test_a_manifest_that_lists_a_blob_gives_nobody_that_blob(
    mirror: RunningMirror, registry: MockRegistry, name: str
) -> None:
    """PX-06: what is cached from a private repository is not to be had through a public one."""
    private = registry.add_image(f"{name}/private", "1")
    claim(registry, f"{name}/public", private)
    mirror.pull(f"{name}/private", "1")
    assert mirror.manifest(f"{name}/public", "1").status == 200
    for blob in private.blobs:
        for method in ("GET", "HEAD"):
            response = mirror.blob(f"{name}/public", blob.digest, method=method)
            assert response.status == 404
        assert code(mirror.blob(f"{name}/public", blob.digest)) == "BLOB_UNKNOWN"
    assert mirror.blob(f"{name}/private", private.blobs[1].digest).status == 200


def test_an_index_that_lists_a_manifest_gives_nobody_that_manifest(
    mirror: RunningMirror, registry: MockRegistry, name: str
) -> None:
    private = registry.add_image(f"{name}/private", "1")
    registry.add_index(f"{name}/public", "1", images=[private])
    mirror.pull(f"{name}/private", "1")
    assert mirror.manifest(f"{name}/public", "1").status == 200
    for method in ("GET", "HEAD"):
        response = mirror.manifest(f"{name}/public", str(private.digest), method=method)
        assert response.status == 404
    registry.store.put_manifest(
        f"{name}/public", registry.store.find_manifest(f"{name}/private", private.digest)
    )
    registry.clear_requests()
    shown = mirror.manifest(f"{name}/public", str(private.digest))
    assert shown.body == private.manifest
    assert registry.count("HEAD") == 1, "the upstream has shown that it holds it there"
    assert registry.count("GET") == 0, "and it was not fetched again"


def test_what_another_repository_holds_too_is_not_fetched_again(
    mirror: RunningMirror, registry: MockRegistry, name: str
) -> None:
    for part in ("first", "second"):
        image = registry.add_image(f"{name}/{part}", "1", seed=name)
    mirror.pull(f"{name}/first", "1")
    mirror.pull(f"{name}/second", "1")
    for blob in image.blobs:
        assert registry.count("GET", f"*/blobs/{blob.digest}") == 1
        assert registry.count("HEAD", f"/v2/{name}/second/blobs/{blob.digest}") == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_blob_on_its_way_is_given_to_nobody_else(
    start_mirror: StartMirror, registry: MockRegistry, name: str, workers: int
) -> None:
    """PX-06, while another process fetches it, too."""
    private = registry.add_image(f"{name}/private", "1", layers=1, layer_size=300_000)
    layer = private.layers[0]
    claim(registry, f"{name}/public", private)
    registry.add_image(f"{name}/twin", "1", layers=1, layer_size=300_000, seed="no")
    registry.store.link(f"{name}/twin", layer.digest)
    mirror = start_mirror(registry, workers=workers, cache={"negative_ttl": '"0s"'})
    mirror.manifest(f"{name}/private", "1")
    stall = registry.fault(Stall(100_000), method="GET", digest=layer.digest)
    with ThreadPoolExecutor(16) as pool:
        owner = pool.submit(mirror.blob, f"{name}/private", layer.digest)
        stall.wait()
        for _ in range(8):  # each on a connection of its own, so to any worker
            assert mirror.blob(f"{name}/public", layer.digest).status == 404
        twins = [pool.submit(mirror.blob, f"{name}/twin", layer.digest) for _ in range(8)]
        registry.wait_for(1, "HEAD", f"/v2/{name}/twin/blobs/*")
        stall.release()
        for waiting in (owner, *twins):
            assert waiting.result().body == registry.blob(layer.digest)
    assert registry.count("GET", f"*/blobs/{layer.digest}", status=200) == 1
    cache_of(mirror).check()


# ── of another upstream ──────────────────────────────────────────────────────────────────────────

CLAIMER: Final = "claims.test"


async def yes(exchange: Exchange) -> Reply | None:
    """Answer as a registry that says to have whatever it is asked for."""
    if exchange.request.method != "HEAD":
        return None
    manifest = "/manifests/" in exchange.request.path
    kind = media_types.OCI_MANIFEST if manifest else "application/octet-stream"
    return Reply.of(200, b"x" * 100, {"Content-Type": kind})


def test_an_upstream_that_says_yes_to_everything_unlocks_nothing(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry, name: str
) -> None:
    """PX-06: what came from one upstream is read through another only once it has sent it, too."""
    private = registry.add_image(name, "1")
    layer = private.layers[0]
    other = second.add_image(name, "1", seed="other")
    quiet = {"negative_ttl": '"0s"'}
    mirror = start_mirror(registry, cache=quiet, more=upstream_table(second, name=CLAIMER))
    mirror.pull(name, "1")
    assert mirror.manifest(name, "1", upstream=CLAIMER).body == other.manifest
    second.fault(yes, times=None)
    for _ in range(2):  # what a HEAD has said before counts for nothing, either
        for reference in (private.digest, layer.digest):
            response = mirror.manifest(name, str(reference), upstream=CLAIMER)
            assert response.status in (404, 502), str(response)
        assert mirror.blob(name, layer.digest, upstream=CLAIMER).status == 404
        mirror.manifest(name, str(private.digest), method="HEAD", upstream=CLAIMER)
        mirror.blob(name, layer.digest, method="HEAD", upstream=CLAIMER)

    async def names_it(exchange: Exchange) -> Reply | None:
        if exchange.request.method != "HEAD":
            return None
        headers = {"Content-Type": media_types.OCI_MANIFEST}
        headers["Docker-Content-Digest"] = str(private.digest)
        return Reply.of(200, private.manifest, headers)

    second.heal()
    second.fault(names_it, times=None)
    for method in ("HEAD", "GET", "GET"):
        response = mirror.manifest(name, "1", method=method, upstream=CLAIMER)
        assert response.body != private.manifest
    assert mirror.blob(name, layer.digest).body == registry.blob(layer.digest)


def test_an_upstream_that_sends_something_else_unlocks_nothing(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry, name: str
) -> None:
    layer = registry.add_image(name, "1", layers=1).layers[0]
    wrong = registry.blob(layer.digest)[:-1] + b"?"
    second.store.link(name, layer.digest, Held(wrong))
    mirror = start_mirror(registry, more=upstream_table(second, name=CLAIMER))
    mirror.pull(name, "1")
    response = mirror.blob(name, layer.digest, upstream=CLAIMER)
    assert response.status in (404, 502), str(response)
    (event,) = cache_of(mirror).events("upstream.lied")
    assert f"{CLAIMER}/{name} {layer.digest}" in event
    assert mirror.blob(name, layer.digest).body == registry.blob(layer.digest)


def test_two_upstreams_share_what_both_have_delivered(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry, name: str
) -> None:
    """PX-06: once is enough, for every repository of it, and nothing is stored twice."""
    for one in (registry, second):
        image = one.add_image(name, "1", seed=name)
    second.add_image(f"{name}/twin", "1", seed=name)
    mirror = start_mirror(registry, more=upstream_table(second, name=CLAIMER))
    mirror.pull(name, "1")
    for part in (name, f"{name}/twin", name):
        mirror.pull(part, "1", upstream=CLAIMER)
    for blob in image.blobs:
        assert second.count("GET", f"*/blobs/{blob.digest}") == 1
    assert cache_of(mirror).usage("items") == len(image.blobs) + 1
    assert cache_of(mirror).usage("items", CLAIMER) == 0
    second.stop()
    mirror.pull(name, "1", upstream=CLAIMER)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_what_another_upstream_sends_at_this_moment_is_followed_by_nobody_else(
    start_mirror: StartMirror,
    registry: MockRegistry,
    second: MockRegistry,
    name: str,
    workers: int,
) -> None:
    """PX-06, in the same process and in another one."""
    layer = registry.add_image(name, "1", layers=1, layer_size=300_000).layers[0]
    second.fault(yes, times=None)
    mirror = start_mirror(
        registry,
        workers=workers,
        cache={"negative_ttl": '"0s"'},
        more=upstream_table(second, name=CLAIMER),
    )
    stall = registry.fault(Stall(100_000), method="GET", digest=layer.digest)
    with ThreadPoolExecutor(16) as pool:
        owner = pool.submit(mirror.blob, name, layer.digest)
        stall.wait()
        claims = [pool.submit(mirror.blob, name, layer.digest, upstream=CLAIMER) for _ in range(8)]
        stall.release()
        assert owner.result().body == registry.blob(layer.digest)
        assert {claim.result().status for claim in claims} == {404}


def test_what_is_left_of_another_upstreams_blob_is_not_gone_on_with(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry, name: str
) -> None:
    """PX-06: who has the last bytes only would read all of it."""
    layer = registry.add_image(name, "1", layers=1, layer_size=300_000).layers[0]
    second.add_image(name, "1", layers=1, layer_size=300_000, seed="no")
    second.store.link(name, layer.digest, Held(registry.blob(layer.digest)))
    mirror = start_mirror(registry, more=upstream_table(second, name=CLAIMER))
    stall = registry.fault(Stall(100_000), method="GET", digest=layer.digest)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(mirror.blob, name, layer.digest)
        stall.wait()
        wait_until(lambda: cache_of(mirror).spooled(layer.digest) > 0)
        mirror.kill()
        assert waiting.exception() is not None
    stall.release()
    mirror.start()
    taken = mirror.blob(name, layer.digest, upstream=CLAIMER)
    assert taken.body == registry.blob(layer.digest)
    (request,) = [one for one in second.requests if one.path.endswith(str(layer.digest))]
    assert "range" not in {key.lower() for key, _ in request.headers}


def test_what_a_client_says_of_itself_goes_no_further(
    mirror: RunningMirror, registry: MockRegistry, client: Client, name: str
) -> None:
    """RD-05: logins, cookies and addresses of clients are nobody else's business."""
    image = registry.add_image(name, "1")
    secret = "Basic Y2xpZW50OnNlY3JldA=="
    headers = {
        "Authorization": secret,
        "Cookie": "session=secret",
        "X-Forwarded-For": "203.0.113.9",
        "X-Registry-Auth": "secret",
        "User-Agent": "secret/1",
    }
    for path in ("manifests/1", f"manifests/{image.digest}", f"blobs/{image.layers[0].digest}"):
        for method in ("HEAD", "GET"):
            target = f"/v2/{UPSTREAM}/{name}/{path}"
            assert client.request(method, target, headers=headers).status == 200
    sent = [value for one in registry.requests for _, value in one.headers]
    assert not [value for value in sent if "secret" in value.lower() or value == secret]
    assert not [value for value in sent if "203.0.113.9" in value]
    assert secret.partition(" ")[2] not in mirror.log()


# ── what is invented ─────────────────────────────────────────────────────────────────────────────


def test_a_manifest_of_thousands_of_layers_does_not_fill_the_index(
    mirror: RunningMirror, registry: MockRegistry, name: str
) -> None:
    """CA-06: of a thousand the index notes the size; the others are read all the same."""
    last = registry.add_blob(name, b"the last layer")
    layers = [
        Descriptor(media_types.OCI_LAYER, Digest.of(b"%d" % number), 10).to_json()
        for number in range(3000)
    ]
    layers.append(Descriptor(media_types.OCI_LAYER, last.digest, last.size).to_json())
    image = registry.add_image(name, None)
    content = json.dumps({**json.loads(image.manifest), "layers": layers}).encode()
    registry.add_manifest(name, "1", content, media_types.OCI_MANIFEST)
    assert mirror.manifest(name, "1").body == content
    assert cache_of(mirror).expected(f"{UPSTREAM}/{name}") == 1000
    assert mirror.blob(name, last.digest).body == b"the last layer"


def test_hosts_that_do_not_exist_leave_nothing_behind(start_mirror: StartMirror) -> None:
    """CA-06: nothing is counted of what was never answered."""
    mirror = start_mirror(more="[proxy]\nopen = true\n")
    for number in range(3):
        host = f"r{number}.nowhere.invalid"
        for method in ("GET", "HEAD"):
            assert mirror.manifest("x", "1", method=method, upstream=host).status >= 400
            digest = Digest.of(b"x")
            assert mirror.blob("x", digest, method=method, upstream=host).status >= 400
    assert mirror.stop() == 0
    assert cache_of(mirror).upstreams() == set()


# ── what is never asked ──────────────────────────────────────────────────────────────────────────


def test_urls_of_foreign_layers_are_not_followed(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry, name: str
) -> None:
    """PX-03: a manifest could name any address with them; prefetching does not go there, either."""
    config = registry.add_blob(name, b"{}")
    foreign = second.add_blob(name, b"a layer that lies elsewhere")
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.DOCKER_MANIFEST,
        "config": Descriptor(media_types.DOCKER_CONFIG, config.digest, 2).to_json(),
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                "digest": str(foreign.digest),
                "size": foreign.size,
                "urls": [f"{second.url}/v2/{name}/blobs/{foreign.digest}"],
            }
        ],
    }
    made = registry.add_manifest(
        name, "1", json.dumps(document).encode(), media_types.DOCKER_MANIFEST
    )
    mirror = start_mirror(registry, cache={"prefetch": "true"})
    assert mirror.manifest(name, "1").body == made.manifest
    assert mirror.blob(name, foreign.digest).status == 404
    assert mirror.blob(name, config.digest).status == 200
    assert cache_of(mirror).holds(config.digest)
    assert second.requests == []


@pytest.mark.parametrize("place", ["ns", "path", "prefix"])
def test_a_registry_that_nobody_configured_is_not_asked(
    registry: MockRegistry, second: MockRegistry, mirror: RunningMirror, name: str, place: str
) -> None:
    """PX-06: what a client names is a key to look up; it is never dialled."""
    second.add_image(name, "1")
    image = registry.add_image("library/known", "1")
    host = second.host
    with mirror.client() as client:
        path = f"/v2/{host}/{name}/manifests/1"
        if place == "ns":
            path = f"/v2/{name}/manifests/1?ns={host}"
        elif place == "prefix":
            path = f"/{host}/v2/{name}/manifests/1"
        response = client.get(path)
    assert (response.status, code(response)) == (403, "DENIED")
    assert f"entrepot upstream add {host}" in message(response)
    assert second.requests == []
    assert mirror.manifest("library/known", "1").body == image.manifest


# ── names ────────────────────────────────────────────────────────────────────────────────────────

HUB: Final[Mapping[str, str]] = {
    "path": "/v2/docker.io/library/{name}/manifests/1",
    "path-without-library": "/v2/docker.io/{name}/manifests/1",
    "prefix": "/docker.io/v2/library/{name}/manifests/1",
    "prefix-without-library": "/docker.io/v2/{name}/manifests/1",
    "ns": "/v2/library/{name}/manifests/1?ns=docker.io",
    "default": "/v2/library/{name}/manifests/1",
    "default-without-library": "/v2/{name}/manifests/1",
    "index.docker.io": "/v2/index.docker.io/library/{name}/manifests/1",
    "registry-1.docker.io": "/v2/registry-1.docker.io/library/{name}/manifests/1",
    "registry.hub.docker.com": "/v2/registry.hub.docker.com/library/{name}/manifests/1",
    "ns-of-an-alias": "/v2/library/{name}/manifests/1?ns=registry-1.docker.io",
    "prefix-of-an-alias": "/index.docker.io/v2/{name}/manifests/1",
    "wrong-ns-before-the-path": "/v2/docker.io/library/{name}/manifests/1?ns=hub.test",
}


def test_all_names_of_docker_hub_share_one_entry(
    registry: MockRegistry, client: Client, name: str
) -> None:
    """BE-01, PX-01: both path positions, `ns`, the default registry, and the aliases."""
    short = name.replace("/", "-")
    image = registry.add_image(f"library/{short}", "1")
    for how, path in HUB.items():
        response = client.get(path.format(name=short), {"Accept": MANIFESTS})
        assert (response.status, response.body) == (200, image.manifest), how
        namespace = response.header("OCI-Namespace")
        assert namespace == ("docker.io" if "ns=" in path else None), how
    assert registry.count("GET") == 1
    assert {one.path for one in registry.requests} == {f"/v2/library/{short}/manifests/1"}


def test_a_registry_with_a_port_is_reached_by_path(
    registry: MockRegistry, client: Client, name: str
) -> None:
    image = registry.add_image(name, "1")
    layer = image.layers[0].digest
    for front in (f"/v2/{LOCAL}", f"/{LOCAL}/v2"):
        assert client.get(f"{front}/{name}/manifests/1").body == image.manifest
        assert client.get(f"{front}/{name}/blobs/{layer}").body == registry.blob(layer)
    assert registry.count("GET") == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "blobs/uploads/"),
        ("POST", "blobs/uploads/?digest={digest}"),
        ("POST", "blobs/uploads/?mount={digest}&from=ours/other"),
        ("PUT", "manifests/1"),
        ("DELETE", "manifests/1"),
        ("DELETE", "manifests/{digest}"),
        ("DELETE", "blobs/{digest}"),
        ("PUT", "blobs/uploads/1234"),
        ("PATCH", "blobs/uploads/1234"),
        ("GET", "blobs/uploads/1234"),
        ("POST", "manifests/1"),
    ],
    ids=lambda value: value.replace("/", "-") if isinstance(value, str) else None,
)
def test_a_mirror_cannot_be_written_to(
    registry: MockRegistry, client: Client, name: str, method: str, path: str
) -> None:
    image = registry.add_image(name, "1")
    target = f"/v2/{UPSTREAM}/{name}/" + path.format(digest=image.digest)
    response = client.request(method, target, b"{}" if method in ("PUT", "PATCH") else None)
    assert (response.status, code(response)) == (405, "UNSUPPORTED")
    assert response.header("Allow") == "GET, HEAD"
    assert "mirror" in message(response)
    assert "push to" in message(response)
    assert registry.requests == []


def test_the_name_of_this_server_is_not_asked_either(
    registry: MockRegistry, second: MockRegistry, client: Client, name: str
) -> None:
    """Whatever a client writes into `Host`, the names behind it are the default registry's."""
    second.add_image(name, "1")
    image = registry.add_image(name, "1")
    head = f"GET /v2/{name}/manifests/1 HTTP/1.1\r\nHost: {second.host}\r\nConnection: close\r\n"
    answer = client.raw(head.encode() + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(image.manifest)
    assert second.requests == []


def test_hosted_names_can_be_pushed_beside_mirrored_ones(client: Client) -> None:
    """A proxy elsewhere cannot accept pushes at all."""
    started = client.post("/v2/ours/app/blobs/uploads/")
    assert started.status == 202
    digest = Digest.of(b"ours")
    done = client.put(f"{started.header('Location')}?digest={digest}", b"ours")
    assert done.status == 201
    assert client.get(f"/v2/ours/app/blobs/{digest}").body == b"ours"


# ── byte for byte ────────────────────────────────────────────────────────────────────────────────

ODD: Final[Mapping[str, bytes]] = {
    "trailing-newline": b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}\n',
    "spaces": b'  {\r\n\t"schemaVersion" : 2 ,"mediaType" : "%s" , "manifests" : [ ] }  ',
    "unknown-fields": b'{"schemaVersion":2,"mediaType":"%s","manifests":[],"x-acme":{"a":1.50}}',
    "escapes": b'{"schemaVersion":2,"mediaType":"%s","manifests":[],"x":{"a":"\\u00e9/"}}',
    "utf-8": '{"schemaVersion":2,"mediaType":"%s","manifests":[],"annotations":{"ä":"…"}}'.encode(),
    "twice": b'{"schemaVersion":1,"schemaVersion":2,"mediaType":"%s","manifests":[]}',
    "bad-child": b'{"schemaVersion":2,"mediaType":"%s","manifests":[{"digest":"no"}]}',
    "no-manifest-of-ours": b'{"schemaVersion":2,"mediaType":"%s","manifests":{"a":[]}}',
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD.keys())
def test_odd_manifests_are_passed_on_as_they_are(
    mirror: RunningMirror, registry: MockRegistry, name: str, content: bytes
) -> None:
    content = content.replace(b"%s", media_types.OCI_INDEX.encode())
    made = registry.add_manifest(name, "1", content, media_types.OCI_INDEX)
    for reference in ("1", str(made.digest), "1"):
        response = mirror.manifest(name, reference)
        assert (response.status, response.body) == (200, content)
        assert response.header("Content-Type") == media_types.OCI_INDEX
        assert response.header("Content-Length") == str(len(content))
        assert response.header("Docker-Content-Digest") == str(Digest.of(content))
        assert response.header("ETag") == f'"{made.digest}"'


def test_an_index_whose_children_are_absent_is_served(
    mirror: RunningMirror, registry: MockRegistry, name: str
) -> None:
    """Registries lose platforms; the others can be pulled all the same."""
    index = registry.add_index(name, "1")
    here, absent = index.children
    del registry.store.repository(name).manifests[absent.digest]
    assert mirror.manifest(name, "1").body == index.manifest
    mirror.pull(name, str(here.digest))
    assert mirror.manifest(name, str(absent.digest)).status == 404


@pytest.mark.parametrize(
    "media_type",
    [
        media_types.OCI_ARTIFACT_MANIFEST,
        media_types.DOCKER_MANIFEST_LIST,
        media_types.DOCKER_MANIFEST,
    ],
    ids=["artifact", "list", "docker"],
)
def test_every_kind_of_manifest_keeps_its_type(
    mirror: RunningMirror, registry: MockRegistry, name: str, media_type: str
) -> None:
    content = json.dumps({"schemaVersion": 2, "mediaType": media_type, "blobs": []}).encode()
    registry.add_manifest(name, "1", content, media_type)
    for _ in range(2):
        response = mirror.manifest(name, "1")
        assert (response.body, response.header("Content-Type")) == (content, media_type)


def test_schema_1_is_refused_in_clear_words(
    mirror: RunningMirror, registry: MockRegistry, name: str
) -> None:
    """Its digest is not that of its bytes: what cannot be verified is not passed on."""
    content = b'{"schemaVersion": 1, "name": "x", "tag": "1", "fsLayers": [], "history": []}'
    registry.add_manifest(name, "1", content, media_types.DOCKER_SCHEMA1)
    response = mirror.manifest(name, "1")
    assert response.status == 502
    assert "schema 1" in message(response)


# ── parts ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [5000, 500_000])
def test_ranges_of_a_blob_that_is_not_cached(
    mirror: RunningMirror, registry: MockRegistry, name: str, size: int
) -> None:
    """PX-07: one download, whatever parts are asked for; several parts at once, too."""
    blob = registry.add_blob(name, size, seed=name)
    content = registry.blob(blob.digest)
    middle = size // 2
    for field, first, last in (
        (f"bytes={middle}-{middle + 99}", middle, middle + 99),
        ("bytes=-7", size - 7, size - 1),
        ("bytes=3-", 3, size - 1),
    ):
        response = mirror.blob(name, blob.digest, headers={"Range": field})
        assert response.status == 206, str(response)
        assert response.header("Content-Range") == f"bytes {first}-{last}/{size}"
        assert response.body == content[first : last + 1]
    beyond = mirror.blob(name, blob.digest, headers={"Range": f"bytes={size}-"})
    assert (beyond.status, beyond.header("Content-Range")) == (416, f"bytes */{size}")
    assert registry.count("GET", f"*/blobs/{blob.digest}") == 1


def test_several_ranges_of_a_blob_that_is_not_cached(
    mirror: RunningMirror, registry: MockRegistry, name: str
) -> None:
    """Clients of zstd:chunked ask that way."""
    blob = registry.add_blob(name, 300_000, seed=name)
    content = registry.blob(blob.digest)
    ranges = ((10, 19), (150_000, 150_099), (299_990, 299_999))
    field = "bytes=" + ",".join(f"{first}-{last}" for first, last in ranges)
    response = mirror.blob(name, blob.digest, headers={"Range": field})
    assert response.status == 206
    kind = response.header("Content-Type") or ""
    message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + response.body)
    parts = message.get_payload()
    assert isinstance(parts, list)
    found = [part.get_payload(decode=True) for part in parts]
    assert found == [content[first : last + 1] for first, last in ranges]
    assert cache_of(mirror).holds(blob.digest)


def test_what_a_client_has_already_is_not_sent(
    mirror: RunningMirror, registry: MockRegistry, client: Client, name: str
) -> None:
    image = registry.add_image(name, "1")
    layer = image.layers[0].digest
    for kind, reference, digest in (
        ("manifests", "1", image.digest),
        ("manifests", str(image.digest), image.digest),
        ("blobs", str(layer), layer),
    ):
        target = f"/v2/{UPSTREAM}/{name}/{kind}/{reference}"
        for _ in range(2):
            same = client.get(target, {"If-None-Match": f'"{digest}"'})
            assert (same.status, same.body) == (304, b"")
        assert client.get(target, {"If-None-Match": '"sha256:0"'}).status == 200


def test_an_empty_blob(mirror: RunningMirror, registry: MockRegistry, name: str) -> None:
    blob = registry.add_blob(name, b"")
    for _ in range(2):
        response = mirror.blob(name, blob.digest)
        assert (response.status, response.body) == (200, b"")
        assert response.header("Content-Length") == "0"
        assert cache_of(mirror).holds(blob.digest)
    assert mirror.blob(name, blob.digest, method="HEAD").header("Content-Length") == "0"


def test_content_under_sha512(mirror: RunningMirror, registry: MockRegistry, name: str) -> None:
    content = b"under a longer digest" * 1000
    digest = Digest.of(content, "sha512")
    registry.store.link(name, digest, Held(content))
    for _ in range(2):
        response = mirror.blob(name, digest)
        assert (response.status, response.body) == (200, content)
        assert response.header("Docker-Content-Digest") == str(digest)
    assert cache_of(mirror).holds(digest)
    assert registry.count("GET", f"*/blobs/{digest}") == 1


# ── lists ────────────────────────────────────────────────────────────────────────────────────────


def read_all(client: Client, target: str) -> list[dict[str, Any]]:
    """Read a list's pages by their links."""
    found, following = list[dict[str, Any]](), target
    while following:
        response = client.get(following)
        assert response.status == 200, str(response)
        found.append(response.json())
        following = next_link(response) or ""
    return found


@pytest.mark.parametrize(
    "target",
    [
        f"/v2/{UPSTREAM}/{{name}}/tags/list?n=3",
        f"/{UPSTREAM}/v2/{{name}}/tags/list?n=3",
        f"/v2/{{name}}/tags/list?n=3&ns={UPSTREAM}",
        f"/v2/{{name}}/tags/list?ns={UPSTREAM}&n=3",
    ],
    ids=["path", "prefix", "ns-behind", "ns-before"],
)
def test_pages_of_tags_lead_on(
    registry: MockRegistry, client: Client, name: str, target: str
) -> None:
    """PX-05: links stay within the name that the client uses."""
    tags = [f"v{number}" for number in range(8)]
    for tag in tags:
        registry.add_image(name, tag)
    found = read_all(client, target.format(name=name))
    assert [tag for page in found for tag in page["tags"]] == tags
    assert [len(page["tags"]) for page in found] == [3, 3, 2]
    assert not [one for one in registry.requests if one.query and "ns" in dict(one.query)]


def test_tags_without_the_upstream_are_those_in_the_cache(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry, name: str
) -> None:
    for tag in ("1", "2", "3"):
        second.add_image(name, tag)
    mirror = start_mirror(second)
    for tag in ("3", "1"):
        mirror.pull(name, tag)
    second.stop()
    with mirror.client() as client:
        response = client.get(f"/v2/{UPSTREAM}/{name}/tags/list")
        assert response.json()["tags"] == ["1", "3"]
        assert (response.header("Warning") or "").startswith("299 ")
        assert client.get(f"/v2/{UPSTREAM}/{name}/other/tags/list").status in (502, 503)


def test_tags_of_an_unknown_name(client: Client, name: str) -> None:
    response = client.get(f"/v2/{UPSTREAM}/{name}/tags/list")
    assert (response.status, code(response)) == (404, "NAME_UNKNOWN")


def test_referrers_are_passed_on(registry: MockRegistry, client: Client, name: str) -> None:
    image = registry.add_image(name, "1")
    for number in range(3):
        registry.add_artifact(
            name,
            subject=image.descriptor,
            content=b"%d" % number,
            artifact_type=f"application/vnd.example.t{number % 2}",
        )
    target = f"/v2/{UPSTREAM}/{name}/referrers/{image.digest}"
    response = client.get(target)
    assert response.header("Content-Type") == media_types.OCI_INDEX
    assert len(response.json()["manifests"]) == 3
    one = client.get(f"{target}?artifactType=application/vnd.example.t1")
    assert len(one.json()["manifests"]) == 1
    assert one.header("OCI-Filters-Applied") == "artifactType"


def test_an_upstream_without_referrers_says_so(
    registry: MockRegistry, client: Client, name: str
) -> None:
    """The client then looks under the subject's tag, which is mirrored as every tag is."""
    image = registry.add_image(name, "1")
    registry.abilities.referrers = False
    try:
        response = client.get(f"/v2/{UPSTREAM}/{name}/referrers/{image.digest}")
    finally:
        registry.abilities.referrers = True
    assert response.status == 404
    fallback = str(image.digest).replace(":", "-")
    assert client.get(f"/v2/{UPSTREAM}/{name}/manifests/{fallback}").status == 404
    index = registry.add_index(name, fallback, images=[])
    wait_until(
        lambda: client.get(f"/v2/{UPSTREAM}/{name}/manifests/{fallback}").body == index.manifest
    )
