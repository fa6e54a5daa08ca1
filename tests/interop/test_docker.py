"""docker builds, pushes, pulls by tag and by digest, and runs what it pulled."""

import json

import pytest

from tests.interop.clients import Docker, Skopeo
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox

pytestmark = pytest.mark.real("docker", "skopeo")

DOCKERFILE = """\
FROM {base}
COPY greeting /etc/greeting
CMD ["/bin/cat", "/etc/greeting"]
"""
ALONE = ("--rm", "--network=none")


@pytest.fixture
def docker(sandbox: Sandbox, docker_host: str) -> Docker:
    """A docker that talks to our daemon."""
    sandbox.environment["DOCKER_HOST"] = docker_host
    return Docker(sandbox)


@pytest.fixture
def pushed(sandbox: Sandbox, busybox: Layout, repository: str) -> str:
    """The reference of the image with busybox, as skopeo pushed it: an OCI manifest."""
    Skopeo(sandbox).upload(busybox, f"{repository}:1.0")
    return f"{repository}:1.0"


def test_runs_what_it_pulls(docker: Docker, pushed: str) -> None:
    told = docker.sandbox.run("docker", "run", *ALONE, pushed)
    assert told == "Goods from the entrepot\n"


def test_pulls_by_digest(docker: Docker, busybox: Layout, repository: str) -> None:
    image = docker.push(busybox, f"{repository}:1.0")
    assert docker.pull(f"{repository}@{image.manifest}") == image


def test_pushes_docker_schema_2(docker: Docker, busybox: Layout, repository: str) -> None:
    image = docker.push(busybox, f"{repository}:1.0")
    options = ("--tls-verify=false", "--raw")
    told = json.loads(
        docker.sandbox.run("skopeo", "inspect", *options, f"docker://{repository}:1.0")
    )
    assert told["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert told["config"]["digest"] == image.config


def test_builds_on_what_is_in_the_registry_and_pushes(
    docker: Docker, busybox: Layout, pushed: str
) -> None:
    sandbox = docker.sandbox
    context = sandbox.folder / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE.format(base=pushed))
    (context / "greeting").write_text("built\n")
    built = f"{pushed.rpartition(':')[0]}:built"
    sandbox.environment["DOCKER_BUILDKIT"] = "0"  # Debian has no buildx
    sandbox.run("docker", "build", "--pull", "--tag", built, context)
    told = sandbox.run("docker", "push", built)
    assert "Mounted from" in told or "Layer already exists" in told
    sandbox.run("docker", "image", "prune", "--all", "--force")
    assert sandbox.run("docker", "run", *ALONE, built) == "built\n"
    layout = Skopeo(sandbox).download(built, "built")
    below = busybox.image(busybox.find()).diff_ids
    assert layout.image(layout.find()).diff_ids[: len(below)] == below


def test_pushes_every_tag(docker: Docker, busybox: Layout, pushed: str) -> None:
    sandbox, repository = docker.sandbox, pushed.rpartition(":")[0]
    sandbox.run("docker", "pull", pushed)
    for tag in ("2.0", "latest"):
        sandbox.run("docker", "tag", pushed, f"{repository}:{tag}")
    sandbox.run("docker", "push", "--all-tags", repository)
    listed = sandbox.run("skopeo", "list-tags", "--tls-verify=false", f"docker://{repository}")
    assert json.loads(listed)["Tags"] == ["1.0", "2.0", "latest"]


def test_names_what_is_not_there(docker: Docker, repository: str) -> None:
    told = docker.sandbox.fails("docker", "pull", f"{repository}:nothing")
    assert "not found" in told or "manifest unknown" in told
