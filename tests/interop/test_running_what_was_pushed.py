"""What our program has pushed, saved or edited runs: in docker, in podman, in containerd."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.clients import Docker, require_root
from tests.interop.containers import run_with_podman
from tests.interop.ends import here
from tests.interop.images import TAG
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.real("busybox")]

GREETING = "Goods from the entrepot\n"
ALONE = ("--rm", "--network=none", "--pull=never")
NAMESPACE = "entrepot"

Run = Callable[..., str]


@pytest.fixture
def pushed(sandbox: Sandbox, busybox: Layout, repository: str) -> str:
    """The image, pushed."""
    sandbox.run("entrepot", "push", busybox.path, f"{repository}:{TAG}")
    return f"{repository}:{TAG}"


@pytest.fixture
def docker(sandbox: Sandbox, docker_host: str) -> Docker:
    sandbox.environment["DOCKER_HOST"] = docker_host
    return Docker(sandbox)


@pytest.fixture
def ctr(sandbox: Sandbox, docker_host: str) -> Run:
    """Run containerd's own client; the daemon is that which dockerd has started."""
    folder = Path(docker_host.removeprefix("unix://")).parent
    address = folder / "exec" / "containerd" / "containerd.sock"
    return lambda *words: sandbox.run("ctr", "-a", address, "-n", NAMESPACE, *words)


@pytest.fixture
def edited(sandbox: Sandbox, pushed: str) -> str:
    """The image with a layer more, another command, and then all of it in one layer."""
    (sandbox.folder / "etc").mkdir()
    (sandbox.folder / "etc" / "motd").write_text("edited\n")
    (sandbox.folder / "etc").chmod(0o755)
    name = pushed.rpartition(":")[0]
    sandbox.run("entrepot", "append", "--prefix=etc", pushed, "etc", "-t", ":more")
    command = "--cmd=/bin/sh -c 'cat $FILE'"
    sandbox.run(
        "entrepot", "mutate", "--env=FILE=/etc/motd", command, f"{name}:more", "-t", ":other"
    )
    sandbox.run("entrepot", "flatten", f"{name}:other", "-t", ":flat")
    return f"{name}:flat"


@pytest.mark.real("docker", "dockerd")
def test_docker_runs_it(docker: Docker, pushed: str, edited: str, busybox: Layout) -> None:
    assert docker.pull(pushed) == busybox.image(busybox.find())
    assert docker.sandbox.run("docker", "run", *ALONE, pushed) == GREETING
    docker.pull(edited)
    assert docker.sandbox.run("docker", "run", *ALONE, edited) == "edited\n"


@pytest.mark.real("docker", "dockerd")
def test_docker_runs_what_came_through_a_pipe(
    docker: Docker, sandbox: Sandbox, pushed: str, busybox: Layout
) -> None:
    sandbox.run("sh", "-euc", f"entrepot save {pushed} -o - | docker load")
    (told,) = json.loads(sandbox.run("docker", "image", "inspect", pushed))
    assert told["Id"] == busybox.image(busybox.find()).config
    assert sandbox.run("docker", "run", *ALONE, pushed) == GREETING


@pytest.mark.real("podman")
def test_podman_runs_it(sandbox: Sandbox, pushed: str, edited: str) -> None:
    require_root("podman")
    for image, greeting in ((pushed, GREETING), (edited, "edited\n")):
        sandbox.run("podman", "pull", "--quiet", "--tls-verify=false", image)
        assert run_with_podman(sandbox, image) == greeting


@pytest.mark.real("docker", "dockerd", "ctr")
@pytest.mark.usefixtures("docker")
class TestContainerd:
    """With the native snapshotter, which needs nothing of the kernel."""

    def run(self, ctr: Run, image: str) -> str:
        container = image.rpartition("/")[2].replace(":", "-")
        return ctr("run", "--rm", "--snapshotter=native", image, container)

    def test_pulls_and_runs_it(self, ctr: Run, pushed: str, edited: str) -> None:
        for image, greeting in ((pushed, GREETING), (edited, "edited\n")):
            ctr("images", "pull", "--plain-http", "--snapshotter=native", image)
            assert self.run(ctr, image) == greeting

    def test_imports_all_platforms_from_our_archive(
        self, ctr: Run, sandbox: Sandbox, multi_platform: Layout
    ) -> None:
        sandbox.run(
            "entrepot", "cp", f"oci:{multi_platform.path}:{TAG}", f"oci-archive:a.tar:{TAG}"
        )
        ctr("images", "import", "--no-unpack", "--all-platforms", "--base-name=imported", "a.tar")
        told = ctr("images", "ls", f"name==imported:{TAG}")
        assert multi_platform.find()["digest"] in told

    def test_imports_our_docker_archive(
        self, ctr: Run, sandbox: Sandbox, multi_platform: Layout
    ) -> None:
        name = f"localhost/tests/docker:{TAG}"
        sandbox.run("entrepot", "pull", "--format=docker-archive",
                    f"oci:{multi_platform.path}:{TAG}", f"docker-archive:b.tar:{name}")  # fmt: skip
        ctr("images", "import", "--snapshotter=native", "b.tar")
        assert here(multi_platform)["digest"] in ctr("images", "ls", f"name=={name}")

    def test_exports_what_we_read(
        self, ctr: Run, sandbox: Sandbox, pushed: str, busybox: Layout
    ) -> None:
        ctr("images", "pull", "--plain-http", "--snapshotter=native", pushed)
        ctr("images", "export", sandbox.folder / "c.tar", pushed)
        sandbox.run("entrepot", "push", "c.tar", f"oci:read:{TAG}")
        read = Layout(sandbox.folder / "read")
        assert read.contents(read.find()) == busybox.contents(busybox.find())
