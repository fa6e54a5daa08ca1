"""A registry moves house: all that docker, podman, oras and regctl have put into docker-registry
is brought to ours by `sync` and `cp`, and they find it there again."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docker_registry import RunningDockerRegistry
from tests.interop.clients import Client
from tests.interop.images import TAG
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.server import RunningServer

pytestmark = [pytest.mark.slow, pytest.mark.real("docker-registry", "crane", "busybox")]

MANY = 130
"""More than registries list in one page by default."""
BROKEN = 4
"""The exit code where something is not what its digest says."""


@pytest.mark.parametrize("client", ["docker", "podman", "buildah"])
def test_what_engines_have_pushed_they_pull_from_its_new_place(
    sandbox: Sandbox,
    server: RunningServer,
    docker_registry: RunningDockerRegistry,
    busybox: Layout,
    new_client: Callable[[str], Client],
    client: str,
) -> None:
    engine, path = new_client(client), f"migration/{client}"
    pushed = engine.push(busybox, f"{docker_registry.host}/{path}:{TAG}")
    sandbox.run("entrepot", "cp", f"{docker_registry.host}/{path}:{TAG}", f"{server.host}/{path}")
    sandbox.run("crane", "validate", "--remote", f"{server.host}/{path}:{TAG}")
    pulled = new_client(client).pull(f"{server.host}/{path}@{pushed.manifest}")
    assert pulled == pushed


@pytest.mark.real("oras")
def test_artifacts_without_an_image(
    sandbox: Sandbox, server: RunningServer, docker_registry: RunningDockerRegistry
) -> None:
    (sandbox.folder / "chart.tgz").write_bytes(b"chart" * 10_000)
    old, new = (f"{one.host}/migration/chart:{TAG}" for one in (docker_registry, server))
    kind = "application/vnd.example.chart"
    sandbox.run("oras", "push", "--plain-http", f"--artifact-type={kind}", old, "chart.tgz:a/b")
    sandbox.run("entrepot", "cp", old, new)
    told = json.loads(sandbox.run("entrepot", "inspect", "--output=json", new))
    assert told["artifact_type"] == kind
    sandbox.run("oras", "pull", "--plain-http", "--output=got", new)
    assert (sandbox.folder / "got" / "chart.tgz").read_bytes() == b"chart" * 10_000


def test_lists_longer_than_a_page(
    sandbox: Sandbox, new_folder: Callable[[str], Path], server: RunningServer, busybox: Layout
) -> None:
    """130 tags and 130 repositories, out of a registry of their own and into ours."""
    old = RunningDockerRegistry(new_folder("old"))
    try:
        sandbox.run("entrepot", "push", busybox.path, f"{old.host}/pages/image:{TAG}")
        tags = sorted(f"v{number}" for number in range(MANY))
        sandbox.run("entrepot", "tag", f"{old.host}/pages/image:{TAG}", *tags)
        assert sandbox.run("entrepot", "tags", f"{old.host}/pages/image").split() == [TAG, *tags]

        sync(sandbox, [
            {"from": f"{old.host}/pages/image", "to": f"{old.host}/pages/{tag}", "tags": [TAG]}
            for tag in tags
        ])  # fmt: skip
        repositories = sandbox.run("entrepot", "repos", old.host).split()
        assert repositories == ["pages/image", *(f"pages/{tag}" for tag in tags)]
        assert repositories == sandbox.run("crane", "catalog", old.host).split()

        new = f"{server.host}/pages/image"
        sync(sandbox, [{"from": f"{old.host}/pages/image", "to": new}])
        assert sandbox.run("entrepot", "tags", new).split() == [TAG, *tags]
        told = sandbox.run("crane", "digest", f"{new}:v77")
        assert told.strip() == busybox.find()["digest"]
    finally:
        old.kill()
    # All those tags name one manifest: its blobs have travelled once.
    sent = re.findall(r'"PUT"[^\n]*/v2/pages/image/blobs/uploads/', server.log())
    assert len(sent) <= len(busybox.contents(busybox.find())) - 1


def sync(sandbox: Sandbox, entries: list[dict[str, object]]) -> None:
    (sandbox.folder / "list.yaml").write_text(json.dumps({"sync": entries}))
    sandbox.run("entrepot", "sync", "--quiet", "list.yaml")


def test_a_registry_that_never_deletes_says_so(
    sandbox: Sandbox, new_folder: Callable[[str], Path], busybox: Layout
) -> None:
    registry = RunningDockerRegistry(new_folder("forever"), delete=False)
    try:
        image = f"{registry.host}/forever/image:{TAG}"
        sandbox.run("entrepot", "push", busybox.path, image)
        done = sandbox.attempt("entrepot", "rm", "--digest", image)
        assert done.returncode == 1
        assert "delet" in done.stderr
        assert "Traceback" not in done.stderr
        sandbox.run("entrepot", "validate", image)
    finally:
        registry.kill()


@pytest.mark.parametrize("jobs", ["1", "64"])
def test_by_digest_and_with_any_number_of_jobs(
    sandbox: Sandbox,
    server: RunningServer,
    docker_registry: RunningDockerRegistry,
    multi_platform: Layout,
    jobs: str,
) -> None:
    """A copy of a digest to a digest has no tag; it is there all the same."""
    digest = multi_platform.find()["digest"]
    old, new = (f"{one.host}/digests/jobs-{jobs}" for one in (docker_registry, server))
    sandbox.run("entrepot", "push", "--jobs", jobs, multi_platform.path, f"{old}:{TAG}")
    sandbox.run("entrepot", "cp", "--jobs", jobs, f"{old}@{digest}", f"{new}@{digest}")
    assert sandbox.run("entrepot", "digest", f"{new}@{digest}").strip() == digest
    sandbox.run("crane", "validate", "--remote", f"{new}@{digest}")
    assert sandbox.attempt("entrepot", "tags", new).stdout == ""
    wrong = f"{new}@sha256:{'0' * 64}"
    done = sandbox.attempt("entrepot", "cp", f"{old}@{digest}", wrong)
    assert (done.returncode, done.stdout) == (BROKEN, "")
    assert digest in done.stderr
    assert sandbox.attempt("entrepot", "digest", wrong).returncode == 2
