"""skopeo asks, lists, copies, synchronises and deletes."""

import hashlib
import json
from collections.abc import Callable

import pytest

from tests.interop.clients import Skopeo
from tests.interop.images import HERE
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox

pytestmark = pytest.mark.real("skopeo")

PLAIN = "--tls-verify=false"
BOTH_PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")


@pytest.fixture
def pushed(sandbox: Sandbox, busybox: Layout, repository: str) -> str:
    """The URL of a repository with the image under `1.0` and `latest`."""
    for tag in ("1.0", "latest"):
        Skopeo(sandbox).upload(busybox, f"{repository}:{tag}")
    return f"docker://{repository}"


def test_inspect_tells_what_was_pushed(sandbox: Sandbox, busybox: Layout, pushed: str) -> None:
    told = json.loads(sandbox.run("skopeo", "inspect", PLAIN, f"{pushed}:1.0"))
    manifest = busybox.document(busybox.find())
    assert told["Digest"] == busybox.find()["digest"]
    assert told["Layers"] == [one["digest"] for one in manifest["layers"]]
    assert told["RepoTags"] == ["1.0", "latest"]
    assert told["Architecture"] == HERE


@pytest.mark.parametrize("by_digest", [False, True])
def test_inspect_raw_gives_the_manifest_byte_by_byte(
    sandbox: Sandbox, busybox: Layout, pushed: str, by_digest: bool
) -> None:
    digest = busybox.find()["digest"]
    reference = f"{pushed}@{digest}" if by_digest else f"{pushed}:latest"
    told = sandbox.run("skopeo", "inspect", PLAIN, "--raw", reference)
    assert f"sha256:{hashlib.sha256(told.encode()).hexdigest()}" == digest


def test_list_tags(sandbox: Sandbox, pushed: str) -> None:
    told = json.loads(sandbox.run("skopeo", "list-tags", PLAIN, pushed))
    assert told["Tags"] == ["1.0", "latest"]


def test_copy_between_repositories(
    sandbox: Sandbox, busybox: Layout, pushed: str, new_repository: Callable[[], str]
) -> None:
    copy = f"{new_repository()}:copied"
    sandbox.run("skopeo", "copy", *BOTH_PLAIN, f"{pushed}:1.0", f"docker://{copy}")
    layout = Skopeo(sandbox).download(copy, "copied")
    assert layout.image(layout.find()) == busybox.image(busybox.find())


def test_copy_as_docker_schema_2(
    sandbox: Sandbox, busybox: Layout, pushed: str, new_repository: Callable[[], str]
) -> None:
    copy = f"{new_repository()}:docker"
    sandbox.run("skopeo", "copy", "--format=v2s2", *BOTH_PLAIN, f"{pushed}:1.0", f"docker://{copy}")
    told = json.loads(sandbox.run("skopeo", "inspect", PLAIN, "--raw", f"docker://{copy}"))
    assert told["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    layers = busybox.document(busybox.find())["layers"]
    assert [one["digest"] for one in told["layers"]] == [one["digest"] for one in layers]


def test_sync_a_repository_to_a_folder_and_back(
    sandbox: Sandbox, busybox: Layout, pushed: str, new_repository: Callable[[], str]
) -> None:
    repository = pushed.removeprefix("docker://")
    name = repository.rpartition("/")[2]
    sandbox.run(
        "skopeo", "sync", "--src=docker", "--dest=dir", "--preserve-digests", BOTH_PLAIN[0],
        repository, "synced",
    )  # fmt: skip
    folders = sorted(one.name for one in (sandbox.folder / "synced").iterdir())
    assert folders == [f"{name}:1.0", f"{name}:latest"]

    below = new_repository()
    sandbox.run(
        "skopeo", "sync", "--src=dir", "--dest=docker", "--preserve-digests", BOTH_PLAIN[1],
        "synced", below,
    )  # fmt: skip
    layout = Skopeo(sandbox).download(f"{below}/{name}:1.0", "again")
    assert layout.image(layout.find()) == busybox.image(busybox.find())


def test_delete_takes_the_image_from_all_its_tags(sandbox: Sandbox, pushed: str) -> None:
    sandbox.run("skopeo", "delete", PLAIN, f"{pushed}:1.0")
    assert "manifest unknown" in sandbox.fails("skopeo", "inspect", PLAIN, f"{pushed}:latest")
    told = json.loads(sandbox.run("skopeo", "list-tags", PLAIN, pushed))
    assert told["Tags"] == []
