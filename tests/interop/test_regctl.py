"""regctl lists, reads blobs, attaches artifacts and deletes."""

import hashlib
from collections.abc import Callable
from functools import partial

import pytest

from tests.interop.clients import Regctl
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.server import RunningServer

pytestmark = pytest.mark.real("regctl")

Command = Callable[..., str]


@pytest.fixture
def host(server: RunningServer) -> tuple[str, str]:
    """The options that tell regctl of our server."""
    return ("--host", f"reg={server.host},tls=disabled")


@pytest.fixture
def regctl(sandbox: Sandbox, host: tuple[str, str]) -> Command:
    """Run regctl."""
    return partial(sandbox.run, "regctl", *host)


@pytest.fixture
def pushed(sandbox: Sandbox, busybox: Layout, repository: str) -> str:
    """A repository with the image under `1.0`."""
    Regctl(sandbox).upload(busybox, f"{repository}:1.0")
    return repository


def test_repositories_and_tags_are_listed(
    regctl: Command, server: RunningServer, pushed: str
) -> None:
    regctl("image", "copy", f"{pushed}:1.0", f"{pushed}:latest")
    assert regctl("tag", "ls", pushed).split() == ["1.0", "latest"]
    assert regctl("tag", "ls", "--limit=1", "--last=1.0", pushed).split() == ["latest"]
    assert pushed.partition("/")[2] in regctl("repo", "ls", server.host).split()


def test_manifest_is_the_one_that_was_pushed(regctl: Command, busybox: Layout, pushed: str) -> None:
    digest = busybox.find()["digest"]
    assert regctl("manifest", "head", f"{pushed}:1.0").strip() == digest
    raw = regctl("manifest", "get", "--format=raw-body", f"{pushed}:1.0")
    assert f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}" == digest


def test_blob_get_gives_the_layer(
    sandbox: Sandbox, host: tuple[str, str], busybox: Layout, pushed: str
) -> None:
    (*_, layer) = busybox.document(busybox.find())["layers"]
    command = f"regctl {' '.join(host)} blob get {pushed} {layer['digest']} > layer"
    sandbox.run("sh", "-c", command)
    content = (sandbox.folder / "layer").read_bytes()
    assert content == busybox.file(layer["digest"]).read_bytes()


def test_blob_put_and_head(sandbox: Sandbox, host: tuple[str, str], repository: str) -> None:
    put = f"printf content | regctl {' '.join(host)} blob put {repository}"
    digest = sandbox.run("sh", "-c", put).strip()
    assert digest == f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    sandbox.run("regctl", *host, "blob", "head", repository, digest)
    sandbox.run("regctl", *host, "blob", "delete", repository, digest)
    sandbox.fails("regctl", *host, "blob", "head", repository, digest)


def test_artifact_of_its_own(sandbox: Sandbox, regctl: Command, repository: str) -> None:
    (sandbox.folder / "notes.txt").write_text("what changed\n")
    regctl(
        "artifact", "put", "--artifact-type=application/vnd.example.notes", "--file=notes.txt",
        f"{repository}:notes",
    )  # fmt: skip
    assert regctl("artifact", "get", f"{repository}:notes") == "what changed\n"


def test_tag_delete_leaves_the_manifest(regctl: Command, busybox: Layout, pushed: str) -> None:
    regctl("tag", "delete", f"{pushed}:1.0")
    assert regctl("tag", "ls", pushed).split() == []
    regctl("manifest", "head", f"{pushed}@{busybox.find()['digest']}")


def test_manifest_delete(
    sandbox: Sandbox, host: tuple[str, str], busybox: Layout, pushed: str
) -> None:
    sandbox.run("regctl", *host, "manifest", "delete", f"{pushed}@{busybox.find()['digest']}")
    sandbox.fails("regctl", *host, "manifest", "head", f"{pushed}:1.0")
