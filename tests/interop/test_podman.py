"""podman and buildah build, push, pull, run and search; podman pushes manifest lists."""

import json

import pytest

from tests.interop.clients import Skopeo, require_root
from tests.interop.containers import run_with_podman
from tests.interop.images import HERE
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.server import RunningServer

pytestmark = pytest.mark.real("podman", "buildah", "skopeo")

PLAIN = "--tls-verify=false"
CONTAINERFILE = """\
FROM {base}
COPY greeting /etc/greeting
CMD ["/bin/cat", "/etc/greeting"]
"""


@pytest.fixture(autouse=True)
def _root() -> None:
    require_root("podman")


@pytest.fixture
def pushed(sandbox: Sandbox, busybox: Layout, repository: str) -> str:
    """The reference of the image with busybox."""
    Skopeo(sandbox).upload(busybox, f"{repository}:1.0")
    return f"{repository}:1.0"


@pytest.mark.parametrize(
    "build", [("podman", "build"), ("buildah", "bud")], ids=["podman", "buildah"]
)
def test_builds_on_what_is_in_the_registry_and_pushes(
    sandbox: Sandbox, busybox: Layout, pushed: str, build: tuple[str, str]
) -> None:
    program, command = build
    (sandbox.folder / "Containerfile").write_text(CONTAINERFILE.format(base=pushed))
    (sandbox.folder / "greeting").write_text("built\n")
    built = f"{pushed.rpartition(':')[0]}:built"
    sandbox.run(program, command, PLAIN, f"--tag={built}", ".")
    sandbox.run(program, "push", PLAIN, built)
    layout = Skopeo(sandbox).download(built, "built")
    below = busybox.image(busybox.find()).diff_ids
    assert layout.image(layout.find()).diff_ids[: len(below)] == below


def test_runs_what_it_pulled(sandbox: Sandbox, pushed: str) -> None:
    sandbox.run("podman", "pull", PLAIN, pushed)
    assert run_with_podman(sandbox, pushed) == "Goods from the entrepot\n"


def test_pulls_by_digest(sandbox: Sandbox, busybox: Layout, pushed: str) -> None:
    reference = f"{pushed.rpartition(':')[0]}@{busybox.find()['digest']}"
    sandbox.run("podman", "pull", PLAIN, reference)
    told = sandbox.run("podman", "image", "inspect", "--format={{.Digest}}", reference)
    assert told.strip() == busybox.find()["digest"]


def test_manifest_list_of_several_platforms(sandbox: Sandbox, repository: str) -> None:
    (sandbox.folder / "Containerfile").write_text("FROM scratch\nCOPY greeting /\n")
    (sandbox.folder / "greeting").write_text("hello\n")
    architectures = ("amd64", "arm64", "s390x")
    platforms = ",".join(f"linux/{one}" for one in architectures)
    # Nothing tells the three apart but their platform, which the cache does not look at.
    options = (f"--platform={platforms}", "--manifest=list", "--no-cache")
    sandbox.run("podman", "build", *options, ".")
    target = f"docker://{repository}:list"
    sandbox.run("podman", "manifest", "push", PLAIN, "--all", "--format=oci", "list", target)
    layout = Skopeo(sandbox).download(f"{repository}:list", "pulled")
    layout.contents(layout.find())
    children = layout.document(layout.find())["manifests"]
    assert {one["platform"]["architecture"] for one in children} == set(architectures)


def test_search_reads_catalog_and_tags(
    sandbox: Sandbox, server: RunningServer, pushed: str
) -> None:
    repository = pushed.rpartition(":")[0]
    name = repository.partition("/")[2]
    found = sandbox.run("podman", "search", PLAIN, "--format={{.Name}}", f"{server.host}/{name}")
    assert repository in found.split()
    told = sandbox.run("podman", "search", PLAIN, "--list-tags", repository)
    assert told.split() == ["NAME", "TAG", repository, "1.0"]


def test_container_of_a_changed_image_is_committed_and_pushed(
    sandbox: Sandbox, pushed: str
) -> None:
    name = sandbox.run("buildah", "from", PLAIN, pushed).strip()
    sandbox.run("buildah", "run", "--isolation=chroot", name, "sh", "-c", "echo new >/etc/new")
    committed = f"{pushed.rpartition(':')[0]}:committed"
    sandbox.run("buildah", "commit", PLAIN, name, f"docker://{committed}")
    told = json.loads(sandbox.run("skopeo", "inspect", PLAIN, f"docker://{committed}"))
    assert told["Architecture"] == HERE
    layout = Skopeo(sandbox).download(committed, "committed")
    layout.image(layout.find())
