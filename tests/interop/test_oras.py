"""oras pushes files as artifacts, pulls them, lists and deletes."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.interop.sandbox import Sandbox
from tests.server import RunningServer

pytestmark = pytest.mark.real("oras")

PLAIN = "--plain-http"
TYPE = "application/vnd.example.notes"
FILES = {"notes.txt": b"what changed\n", "numbers.bin": bytes(range(256)) * 4096, "empty": b""}

Command = Callable[..., str]


@pytest.fixture
def oras(sandbox: Sandbox) -> Command:
    """Run oras."""
    return partial(sandbox.run, "oras")


@pytest.fixture
def pushed(sandbox: Sandbox, oras: Command, repository: str) -> str:
    """A repository with an artifact of some files under `1.0`."""
    for name, content in FILES.items():
        (sandbox.folder / name).write_bytes(content)
    oras("push", PLAIN, f"--artifact-type={TYPE}", f"{repository}:1.0", *FILES)
    return repository


def test_pull_gives_the_files_that_were_pushed(
    sandbox: Sandbox, oras: Command, pushed: str
) -> None:
    oras("pull", PLAIN, "--output=fresh", f"{pushed}:1.0")
    assert _files(sandbox.folder / "fresh") == FILES


def test_one_push_may_give_several_tags(oras: Command, pushed: str) -> None:
    oras("push", PLAIN, f"{pushed}:2.0,latest,edge", "notes.txt")
    oras("tag", PLAIN, f"{pushed}:1.0", "old")
    tags = ["1.0", "2.0", "edge", "latest", "old"]
    assert oras("repo", "tags", PLAIN, pushed).split() == tags


def test_repositories_are_listed(oras: Command, server: RunningServer, pushed: str) -> None:
    assert pushed.partition("/")[2] in oras("repo", "ls", PLAIN, server.host).split()


def test_manifest_by_tag_and_by_digest(oras: Command, pushed: str) -> None:
    digest = oras("resolve", PLAIN, f"{pushed}:1.0").strip()
    by_tag = oras("manifest", "fetch", PLAIN, f"{pushed}:1.0")
    assert oras("manifest", "fetch", PLAIN, f"{pushed}@{digest}") == by_tag
    assert json.loads(by_tag)["artifactType"] == TYPE


def test_blob_push_fetch_delete(sandbox: Sandbox, oras: Command, repository: str) -> None:
    (sandbox.folder / "blob").write_bytes(FILES["numbers.bin"])
    told = json.loads(oras("blob", "push", PLAIN, "--descriptor", repository, "blob"))
    reference = f"{repository}@{told['digest']}"
    oras("blob", "fetch", PLAIN, "--output=fetched", reference)
    assert (sandbox.folder / "fetched").read_bytes() == FILES["numbers.bin"]
    oras("blob", "delete", PLAIN, "--force", reference)
    assert "not found" in sandbox.fails("oras", "blob", "fetch", PLAIN, "--output=x", reference)


def test_manifest_delete(sandbox: Sandbox, oras: Command, pushed: str) -> None:
    oras("manifest", "delete", PLAIN, "--force", f"{pushed}:1.0")
    assert "not found" in sandbox.fails("oras", "resolve", PLAIN, f"{pushed}:1.0")
    assert oras("repo", "tags", PLAIN, pushed).split() == []


def _files(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}
