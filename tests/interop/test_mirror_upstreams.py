"""Real registries upstream of a mirror: docker-registry, zot, Entrepot; and caches in a row."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.docker_registry import RunningDockerRegistry, RunningZot
from tests.http_client import Response
from tests.interop.clients import Skopeo
from tests.interop.images import TAG
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.servers import stop
from tests.mirrors import MANIFESTS, UPSTREAM, RunningMirror
from tests.server import RunningServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.real("skopeo", "busybox")]

Registry = RunningServer | RunningDockerRegistry

NAME: Final = "team/app"
ABSENT: Final = f"sha256:{'0' * 64}"
LOGIN: Final = 'username = "ann"\npassword = "wonderland"\n'
USERS: Final = "ann:$2b$05$8Xkb731NxHOk71ZEEyO25e6LaMr7Hy/RLNVHjRtIDRK21j4crT1gG\n"


class ProxyOfOthers(RunningDockerRegistry):
    """docker-registry as a cache of its own, in front of another registry."""

    remote = ""

    @classmethod
    def of(cls, folder: Path, url: str) -> RunningDockerRegistry:
        """Start one in front of the registry at a URL."""
        return type("_Proxy", (cls,), {"remote": url})(folder)

    def _settings(self, delete: bool, users: str) -> dict[str, Any]:
        return super()._settings(delete, users) | {"proxy": {"remoteurl": self.remote}}


@pytest.fixture
def ended() -> Iterator[ExitStack]:
    """What ends everything that a test has started, the last one first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def mirror_of(ended: ExitStack, new_folder: Callable[[str], Path]) -> Callable[..., RunningMirror]:
    """Start a mirror of whatever is at a URL, with more lines of TOML for it."""

    def start(url: str, more: str = "") -> RunningMirror:
        table = f'[upstreams."{UPSTREAM}"]\nendpoints = ["{url}"]\ninsecure = true\n{more}'
        mirror = RunningMirror(new_folder("mirror"), workers=2, more=table)
        ended.callback(stop, mirror)
        return mirror

    return start


@pytest.fixture
def origin(
    ended: ExitStack, new_folder: Callable[[str], Path], sandbox: Sandbox, multi_platform: Layout
) -> RunningDockerRegistry:
    """A docker-registry with an image for two platforms."""
    registry = RunningDockerRegistry(new_folder("origin"))
    ended.callback(registry.kill)
    Skopeo(sandbox).upload(multi_platform, f"{registry.host}/{NAME}:{TAG}")
    return registry


def head(mirror: RunningServer, path: str) -> Response:
    with mirror.client() as client:
        return client.request("HEAD", path, headers={"Accept": MANIFESTS})


@pytest.mark.parametrize("program", ["docker-registry", "guarded", "zot", "entrepot"])
def test_pulls_cold_and_with_the_registry_killed(
    program: str,
    ended: ExitStack,
    new_folder: Callable[[str], Path],
    new_sandbox: Callable[[], Sandbox],
    mirror_of: Callable[..., RunningMirror],
    multi_platform: Layout,
) -> None:
    """CA-01, CA-02 and HA-05; PX-04 where the registry wants a login."""
    folder, sandbox = new_folder("upstream"), new_sandbox()
    registry: Registry
    match program:
        case "entrepot":
            registry = RunningServer(folder)
        case "zot":
            registry = RunningZot(folder)
        case _:
            users = USERS if program == "guarded" else ""
            registry = RunningDockerRegistry(folder, users=users)
    ended.callback(registry.kill)
    if program == "guarded":
        login = f"skopeo login --tls-verify=false -u ann --password-stdin {registry.host}"
        sandbox.run("sh", "-euc", f"echo wonderland | {login}")
    Skopeo(sandbox).upload(multi_platform, f"{registry.host}/{NAME}:{TAG}")
    mirror = mirror_of(f"http://{registry.host}", LOGIN if program == "guarded" else "")
    expected = multi_platform.contents(multi_platform.find())
    for _ in range(2):
        pulled = Skopeo(new_sandbox()).download(f"{mirror.host}/{UPSTREAM}/{NAME}:{TAG}", "pulled")
        assert pulled.contents(pulled.find()) == expected
        registry.kill()
    assert "wonderland" not in mirror.log()


def test_head_through_two_mirrors_is_true_and_downloads_nothing(
    origin: RunningDockerRegistry,
    mirror_of: Callable[..., RunningMirror],
    multi_platform: Layout,
) -> None:
    """CA-10 and PX-07: whatever HEAD says of what is in no cache is what the registry says."""
    inner = mirror_of(f"http://{origin.host}")
    outer = mirror_of(f"{inner.url}/{UPSTREAM}")
    index = multi_platform.find()
    manifest = multi_platform.document(index)["manifests"][0]
    layer = multi_platform.document(manifest)["layers"][0]
    for path, expected in (
        (f"manifests/{TAG}", index),
        (f"manifests/{index['digest']}", index),
        (f"manifests/{manifest['digest']}", manifest),
        (f"blobs/{layer['digest']}", layer),
    ):
        answer = head(outer, f"/v2/{UPSTREAM}/{NAME}/{path}")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.header("content-length") == str(expected["size"])
        assert answer.header("docker-content-digest") == expected["digest"]
        if path.startswith("manifests"):
            assert answer.header("content-type") == expected["mediaType"]
    for absent in (f"manifests/{ABSENT}", "manifests/nothing", f"blobs/{ABSENT}"):
        assert head(outer, f"/v2/{UPSTREAM}/{NAME}/{absent}").status == 404
    asked = rf"HEAD\W[^\n]*/v2/{NAME}/blobs/{layer['digest']}"
    wait_until(lambda: re.search(asked, origin.log()))
    gets = re.findall(rf'"GET /v2/{NAME}/(\S+)', origin.log())
    unknown = {"manifests/nothing", f"manifests/{ABSENT}", f"blobs/{ABSENT}"}
    assert set(gets) <= unknown, "only to learn why it is 404"
    for mirror in (inner, outer):
        kept = [one.name for one in (mirror.data / "cache").rglob("*")]
        assert not [name for name in kept if layer["digest"][7:] in name]


def test_two_mirrors_in_a_row(
    origin: RunningDockerRegistry,
    mirror_of: Callable[..., RunningMirror],
    new_sandbox: Callable[[], Sandbox],
    multi_platform: Layout,
) -> None:
    """CA-10: each keeps what went through it, and serves it when those behind it are gone."""
    inner = mirror_of(f"http://{origin.host}")
    outer = mirror_of(f"{inner.url}/{UPSTREAM}")
    expected = multi_platform.contents(multi_platform.find())

    def pull() -> None:
        pulled = Skopeo(new_sandbox()).download(f"{outer.host}/{UPSTREAM}/{NAME}:{TAG}", "pulled")
        assert pulled.contents(pulled.find()) == expected

    pull()
    origin.kill()
    pull()
    for digest in expected:
        kind = "manifests" if digest in manifests(multi_platform) else "blobs"
        assert head(inner, f"/v2/{UPSTREAM}/{NAME}/{kind}/{digest}").status == 200
    inner.kill()
    pull()


def test_the_cache_of_others_in_front_of_ours(
    origin: RunningDockerRegistry,
    ended: ExitStack,
    new_folder: Callable[[str], Path],
    new_sandbox: Callable[[], Sandbox],
    multi_platform: Layout,
) -> None:
    """PX-02 and PX-07: docker-registry's own proxy takes a mirror for the registry itself."""
    mirror = RunningMirror(
        new_folder("mirror"),
        more=f'[proxy]\ndefault_registry = "{UPSTREAM}"\n'
        f'[upstreams."{UPSTREAM}"]\nendpoints = ["http://{origin.host}"]\ninsecure = true\n',
    )
    ended.callback(stop, mirror)
    front = ProxyOfOthers.of(new_folder("front"), mirror.url)
    ended.callback(front.kill)
    expected = multi_platform.contents(multi_platform.find())
    for _ in range(2):
        pulled = Skopeo(new_sandbox()).download(f"{front.host}/{NAME}:{TAG}", "pulled")
        assert pulled.contents(pulled.find()) == expected
        origin.kill()


def manifests(layout: Layout) -> set[str]:
    """Return the digests of a layout's index and of the manifests it lists."""
    index = layout.find()
    return {index["digest"], *(one["digest"] for one in layout.document(index)["manifests"])}
