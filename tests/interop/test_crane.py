"""crane lists, reads, validates, mounts and deletes."""

import hashlib
import json
from collections.abc import Callable

import pytest

from tests.interop.clients import Crane
from tests.interop.images import HERE
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.server import RunningServer

pytestmark = pytest.mark.real("crane")


@pytest.fixture
def pushed(sandbox: Sandbox, busybox: Layout, repository: str) -> str:
    """A repository with the image under `1.0`."""
    Crane(sandbox).upload(busybox, f"{repository}:1.0")
    return repository


def test_push_names_the_digest(sandbox: Sandbox, busybox: Layout, repository: str) -> None:
    told = sandbox.run("crane", "push", busybox.path, f"{repository}:1.0")
    assert told.strip() == f"{repository}@{busybox.find()['digest']}"


def test_catalog_lists_the_repository(server: RunningServer, sandbox: Sandbox, pushed: str) -> None:
    names = sandbox.run("crane", "catalog", server.host).split()
    assert pushed.partition("/")[2] in names
    assert names == sorted(names)


def test_ls_lists_the_tags(sandbox: Sandbox, pushed: str) -> None:
    for tag in ("latest", "edge"):
        sandbox.run("crane", "tag", f"{pushed}:1.0", tag)
    assert sandbox.run("crane", "ls", pushed).split() == ["1.0", "edge", "latest"]


@pytest.mark.parametrize("command", ["digest", "manifest"])
def test_reads_the_manifest_as_it_was_pushed(
    sandbox: Sandbox, busybox: Layout, pushed: str, command: str
) -> None:
    told = sandbox.run("crane", command, f"{pushed}:1.0")
    if command == "manifest":
        told = f"sha256:{hashlib.sha256(told.rstrip().encode()).hexdigest()}"
    assert told.strip() == busybox.find()["digest"]


def test_config_and_export_read_blobs(sandbox: Sandbox, pushed: str) -> None:
    config = json.loads(sandbox.run("crane", "config", f"{pushed}:1.0"))
    assert config["architecture"] == HERE
    sandbox.run("crane", "export", f"{pushed}:1.0", "files.tar")
    assert "Goods from the entrepot" in sandbox.run("tar", "-xOf", "files.tar", "etc/motd")


def test_validates_every_layer(sandbox: Sandbox, pushed: str) -> None:
    assert "PASS" in sandbox.said("crane", "validate", "--remote", f"{pushed}:1.0")


def test_validates_an_index(sandbox: Sandbox, multi_platform: Layout, repository: str) -> None:
    Crane(sandbox).upload(multi_platform, f"{repository}:1.0")
    assert "PASS" in sandbox.said("crane", "validate", "--remote", f"{repository}:1.0")
    told = sandbox.run("crane", "digest", f"--platform=linux/{HERE}", f"{repository}:1.0")
    children = multi_platform.document(multi_platform.find())["manifests"]
    assert told.strip() in [one["digest"] for one in children]


def test_copy_mounts_the_blobs_it_has_elsewhere(
    sandbox: Sandbox, busybox: Layout, pushed: str, new_repository: Callable[[], str]
) -> None:
    copy = f"{new_repository()}:1.0"
    told = sandbox.said("crane", "copy", f"{pushed}:1.0", copy)
    manifest = busybox.document(busybox.find())
    for blob in (manifest["config"], *manifest["layers"]):
        assert f"mounted blob: {blob['digest']}" in told
    layout = Crane(sandbox).download(copy, "copied")
    assert layout.image(layout.find()) == busybox.image(busybox.find())


def test_append_pushes_a_new_layer_on_top(sandbox: Sandbox, busybox: Layout, pushed: str) -> None:
    (sandbox.folder / "added").write_text("one more\n")
    sandbox.run("tar", "-cf", "layer.tar", "added")
    sandbox.run(
        "crane", "append", f"--base={pushed}:1.0", "--new_layer=layer.tar",
        f"--new_tag={pushed}:2.0",
    )  # fmt: skip
    below = busybox.document(busybox.find())["layers"]
    manifest = json.loads(sandbox.run("crane", "manifest", f"{pushed}:2.0"))
    digests = [one["digest"] for one in manifest["layers"]]
    assert digests[:-1] == [one["digest"] for one in below]
    assert len(digests) == len(below) + 1
    assert "PASS" in sandbox.said("crane", "validate", "--remote", f"{pushed}:2.0")


def test_delete_of_a_digest_takes_the_manifest(
    sandbox: Sandbox, busybox: Layout, pushed: str
) -> None:
    sandbox.run("crane", "delete", f"{pushed}@{busybox.find()['digest']}")
    assert "MANIFEST_UNKNOWN" in sandbox.fails("crane", "manifest", f"{pushed}:1.0")
    assert sandbox.run("crane", "ls", pushed).split() == []


def test_delete_of_a_tag_leaves_the_manifest(
    sandbox: Sandbox, busybox: Layout, pushed: str
) -> None:
    sandbox.run("crane", "delete", f"{pushed}:1.0")
    assert sandbox.run("crane", "ls", pushed).split() == []
    digest = busybox.find()["digest"]
    assert sandbox.run("crane", "digest", f"{pushed}@{digest}").strip() == digest
