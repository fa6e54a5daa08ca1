"""Folders and archives: others read those that our program writes, and it reads theirs."""

import json
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.clients import Docker, Skopeo, require_root
from tests.interop.ends import SBOM, attach, here
from tests.interop.images import TAG
from tests.interop.layouts import Image, Layout
from tests.interop.sandbox import Sandbox
from tests.programs import require_program

pytestmark = [pytest.mark.slow, pytest.mark.real("skopeo")]

GREETING = "Goods from the entrepot\n"
NAME = f"localhost/tests/hello:{TAG}"
AS_ROOT = ("podman", "buildah", "umoci")


@dataclass(frozen=True, slots=True)
class Theirs:
    """A command of another program; `{busybox}`, `{image}`, `{index}` and `{new}` are filled in.

    `busybox` is a layout's folder, `image` and `index` are in our registry, `new` is a place in
    it, and `host` is the registry itself.
    """

    program: str
    command: str

    def __str__(self) -> str:
        return self.command.partition("{")[0].replace(" ", "-").strip("-")


@pytest.fixture
def run(
    sandbox: Sandbox,
    busybox: Layout,
    multi_platform: Layout,
    new_repository: Callable[[], str],
) -> Callable[[Theirs], str]:
    """Run a command of theirs, and return the name of the place `new`."""
    one, many, new = (f"{new_repository()}:{TAG}" for _ in range(3))
    Skopeo(sandbox).upload(busybox, one)
    Skopeo(sandbox).upload(multi_platform, many)
    names = {
        "busybox": str(busybox.path),
        "image": one,
        "index": many,
        "new": new,
        "host": f"reg={new.partition('/')[0]},tls=disabled",
    }

    def run(theirs: Theirs) -> str:
        require_program(theirs.program)
        if theirs.program in AS_ROOT:
            require_root(theirs.program)
        for line in theirs.command.splitlines():
            sandbox.run(*shlex.split(line.format(**names)))
        return new

    return run


WRITTEN_LAYOUTS = [
    Theirs("skopeo", f"skopeo copy --all oci:{{busybox}}:{TAG} oci:theirs:{TAG}"),
    Theirs("crane", "crane pull --format=oci {image} theirs"),
    Theirs("regctl", f"regctl --host {{host}} image copy {{image}} ocidir://theirs:{TAG}"),
    Theirs("oras", f"oras cp --from-plain-http --to-oci-layout {{image}} theirs:{TAG}"),
    Theirs("oras", "oras backup --plain-http --output theirs {image}"),
]
WRITTEN_ARCHIVES = [
    Theirs("skopeo", f"skopeo copy oci:{{busybox}}:{TAG} oci-archive:theirs.tar:{TAG}"),
    Theirs("regctl", "regctl --host {host} image export {image} theirs.tar"),
    Theirs("regctl", "regctl --host {host} image export --compress {image} theirs.tar"),
    Theirs("oras", "oras backup --plain-http --output theirs.tar {image}"),
]
WRITTEN_DOCKER_ARCHIVES = [
    Theirs("skopeo", f"skopeo copy oci:{{busybox}}:{TAG} docker-archive:theirs.tar:{NAME}"),
    Theirs("crane", "crane pull {image} theirs.tar"),
    Theirs("crane", "crane pull --format=legacy {image} theirs.tar"),
    Theirs("regctl", f"regctl --host {{host}} image export --name={NAME} {{image}} theirs.tar"),
    Theirs(
        "podman",
        "podman pull --quiet --tls-verify=false {image}\n"
        "podman save --quiet --output=theirs.tar {image}",
    ),
    Theirs(
        "buildah",
        "buildah pull --quiet --tls-verify=false {image}\n"
        f"buildah push --quiet {{image}} docker-archive:theirs.tar:{NAME}",
    ),
]
STORED_OCI = [
    Theirs(
        "podman",
        "podman pull --quiet --tls-verify=false {image}\n"
        "podman save --quiet --format=oci-archive --output=theirs.tar {image}",
    ),
    Theirs(
        "podman",
        "podman pull --quiet --tls-verify=false {image}\n"
        "podman save --quiet --format=oci-dir --output=theirs.tar {image}",
    ),
    Theirs(
        "buildah",
        "buildah pull --quiet --tls-verify=false {image}\n"
        f"buildah push --quiet {{image}} oci-archive:theirs.tar:{TAG}",
    ),
]


@pytest.mark.parametrize("theirs", [*WRITTEN_LAYOUTS, *WRITTEN_ARCHIVES], ids=str)
def test_what_others_write_keeps_its_digests(
    sandbox: Sandbox, busybox: Layout, run: Callable[[Theirs], str], theirs: Theirs
) -> None:
    run(theirs)
    file = "theirs.tar" if "theirs.tar" in theirs.command else "theirs"
    assert pushed(sandbox, file).contents(busybox.find()) == busybox.contents(busybox.find())


@pytest.mark.parametrize("theirs", [*WRITTEN_DOCKER_ARCHIVES, *STORED_OCI], ids=str)
def test_what_others_write_anew_has_the_same_config_and_files(
    sandbox: Sandbox, busybox: Layout, run: Callable[[Theirs], str], theirs: Theirs
) -> None:
    run(theirs)
    layout = pushed(sandbox, "theirs.tar")
    image, expected = layout.image(layout.find()), busybox.image(busybox.find())
    assert (image.config, image.diff_ids) == (expected.config, expected.diff_ids)


@pytest.mark.parametrize(
    "theirs",
    [
        Theirs("crane", "crane pull --format=oci {index} theirs.tar"),
        Theirs("regctl", "regctl --host {host} image export {index} theirs.tar"),
        Theirs("oras", "oras backup --plain-http --output theirs.tar {index}"),
    ],
    ids=str,
)
def test_what_others_write_of_an_index_is_whole(
    sandbox: Sandbox, multi_platform: Layout, run: Callable[[Theirs], str], theirs: Theirs
) -> None:
    run(theirs)
    index = multi_platform.find()
    assert pushed(sandbox, "theirs.tar").contents(index) == multi_platform.contents(index)


READERS = {
    "oci:ours:1.0": [
        Theirs("skopeo", "skopeo copy --all --dest-tls-verify=false oci:ours:1.0 docker://{new}"),
        Theirs("crane", "crane push ours {new}"),
        Theirs("regctl", "regctl --host {host} image copy ocidir://ours:1.0 {new}"),
        Theirs("oras", "oras cp --to-plain-http --from-oci-layout ours:1.0 {new}"),
    ],
    "oci-archive:ours.tar:1.0": [
        Theirs(
            "skopeo",
            "skopeo copy --all --dest-tls-verify=false oci-archive:ours.tar:1.0 docker://{new}",
        ),
        Theirs("regctl", "regctl --host {host} image import {new} ours.tar"),
        Theirs("oras", "oras cp --to-plain-http --from-oci-layout ours.tar:1.0 {new}"),
    ],
}


@pytest.mark.parametrize(
    ("address", "theirs"),
    [pytest.param(key, one, id=f"{key}-{one}") for key, all in READERS.items() for one in all],
)
@pytest.mark.parametrize("kind", ["busybox", "multi_platform"])
def test_others_push_what_we_write_as_it_is(
    sandbox: Sandbox,
    run: Callable[[Theirs], str],
    request: pytest.FixtureRequest,
    kind: str,
    address: str,
    theirs: Theirs,
) -> None:
    layout: Layout = request.getfixturevalue(kind)
    sandbox.run("entrepot", "cp", f"oci:{layout.path}:{TAG}", address)
    got = Skopeo(sandbox).download(run(theirs), "got")
    assert got.contents(got.find()) == layout.contents(layout.find())


@pytest.mark.parametrize(
    "theirs",
    [
        Theirs(
            "skopeo",
            f"skopeo copy --dest-tls-verify=false docker-archive:ours.tar:{NAME} docker://{{new}}",
        ),
        Theirs("crane", "crane validate --tarball ours.tar\ncrane push ours.tar {new}"),
        Theirs("regctl", "regctl --host {host} image import {new} ours.tar"),
        Theirs(
            "podman",
            "podman load --quiet --input=ours.tar\n"
            f"podman push --quiet --tls-verify=false {NAME} {{new}}",
        ),
    ],
    ids=str,
)
def test_others_push_our_docker_archive_with_the_same_config_and_files(
    sandbox: Sandbox, run: Callable[[Theirs], str], busybox: Layout, theirs: Theirs
) -> None:
    sandbox.run("entrepot", "cp", f"oci:{busybox.path}:{TAG}", f"docker-archive:ours.tar:{NAME}")
    got = Skopeo(sandbox).download(run(theirs), "got")
    image, expected = got.image(got.find()), busybox.image(busybox.find())
    assert (image.config, image.diff_ids) == (expected.config, expected.diff_ids)


@pytest.mark.real("podman")
@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_podman_pulls_from_each_of_our_files(sandbox: Sandbox, busybox: Layout, form: str) -> None:
    require_root("podman")
    name = NAME if form == "docker-archive" else TAG
    sandbox.run("entrepot", "cp", f"oci:{busybox.path}:{TAG}", f"{form}:ours:{name}")
    pulled = sandbox.run("podman", "pull", "--quiet", f"{form}:ours:{name}").strip()
    assert inspected(sandbox, "podman", pulled) == unnamed(busybox.image(busybox.find()))


@pytest.mark.real("umoci")
def test_umoci_unpacks_what_we_pull(sandbox: Sandbox, repository: str, busybox: Layout) -> None:
    require_root("umoci")
    Skopeo(sandbox).upload(busybox, f"{repository}:{TAG}")
    sandbox.run("entrepot", "pull", f"{repository}:{TAG}", "ours")
    sandbox.run("umoci", "unpack", f"--image=ours:{TAG}", "bundle")
    assert (sandbox.folder / "bundle" / "rootfs" / "etc" / "motd").read_text() == GREETING


@pytest.mark.real("podman")
@pytest.mark.parametrize("program", ["podman", "docker"])
def test_what_is_saved_to_a_pipe_is_loaded_from_it(
    sandbox: Sandbox,
    request: pytest.FixtureRequest,
    repository: str,
    multi_platform: Layout,
    busybox: Layout,
    program: str,
) -> None:
    """Two images at once: one that is for many platforms, and one that runs."""
    prepare(sandbox, request, program)
    for name, layout in (("hello", busybox), ("many", multi_platform)):
        Skopeo(sandbox).upload(layout, f"{repository}/{name}:{TAG}")
    names = [f"{repository}/{name}:{TAG}" for name in ("hello", "many")]
    sandbox.run("sh", "-euc", f"entrepot save {' '.join(names)} -o - | {program} load")
    for name, layout in zip(names, (busybox, multi_platform), strict=True):
        assert inspected(sandbox, program, name) == unnamed(layout.image(here(layout)))


@pytest.mark.real("podman")
@pytest.mark.parametrize("program", ["podman", "docker"])
def test_what_others_save_to_a_pipe_is_pushed_from_it(
    sandbox: Sandbox,
    request: pytest.FixtureRequest,
    repository: str,
    busybox: Layout,
    program: str,
) -> None:
    prepare(sandbox, request, program)
    sandbox.run("entrepot", "cp", f"oci:{busybox.path}:{TAG}", f"docker-archive:ours.tar:{NAME}")
    sandbox.run(program, "load", "--input", "ours.tar")
    sandbox.run("sh", "-euc", f"{program} save {NAME} | entrepot push - {repository}:{TAG}")
    sandbox.run("sh", "-euc", f"{program} save {NAME} | entrepot load store:./data:hello:{TAG}")
    for address in (f"docker://{repository}:{TAG}", f"store:./data:hello:{TAG}"):
        layout = pushed(sandbox, address)
        image = layout.image(layout.find())
        assert unnamed(image) == unnamed(busybox.image(busybox.find()))


@pytest.mark.real("oras", "regctl")
class TestReferrers:
    @pytest.fixture
    def signed(self, sandbox: Sandbox, busybox: Layout, repository: str) -> str:
        """An image in our registry that an artifact refers to."""
        Skopeo(sandbox).upload(busybox, f"{repository}:{TAG}")
        (sandbox.folder / "sbom.json").write_text("{}")
        sandbox.run("oras", "attach", "--plain-http", f"--artifact-type={SBOM}",
                    f"{repository}:{TAG}", f"sbom.json:{SBOM}")  # fmt: skip
        return f"{repository}:{TAG}"

    @pytest.mark.parametrize(
        "theirs",
        [
            Theirs("oras", f"oras cp -r --from-plain-http --to-oci-layout {{}} theirs:{TAG}"),
            Theirs("oras", "oras backup --plain-http --include-referrers --output theirs {}"),
            Theirs(
                "regctl",
                f"regctl --host {{host}} image copy --referrers {{}} ocidir://theirs:{TAG}",
            ),
        ],
        ids=str,
    )
    def test_those_that_others_write_are_found(
        self, sandbox: Sandbox, signed: str, new_repository: Callable[[], str], theirs: Theirs
    ) -> None:
        registry = f"reg={signed.partition('/')[0]},tls=disabled"
        sandbox.run(*shlex.split(theirs.command.format(signed, host=registry)))
        expected = found(sandbox, signed)
        assert len(expected) == 1
        assert found(sandbox, f"oci:theirs:{TAG}") == expected
        target = f"{new_repository()}:{TAG}"
        sandbox.run("entrepot", "push", "--referrers", f"oci:theirs:{TAG}", target)
        told = sandbox.run("oras", "discover", "--plain-http", "--format=json", target)
        assert [one["digest"] for one in json.loads(told)["referrers"]] == expected

    def test_those_that_we_write_are_found_by_oras(self, sandbox: Sandbox, busybox: Layout) -> None:
        sandbox.run("entrepot", "cp", f"oci:{busybox.path}:{TAG}", f"oci:ours:{TAG}")
        layout = Layout(sandbox.folder / "ours")
        (sandbox.folder / "sbom.json").write_text("{}")
        told = sandbox.run("entrepot", "attach", "--quiet", f"--artifact-type={SBOM}",
                           f"oci:ours:{TAG}", f"sbom.json:{SBOM}")  # fmt: skip
        discovered = sandbox.run("oras", "discover", "--oci-layout", "--format=json", f"ours:{TAG}")
        digests = [one["digest"] for one in json.loads(discovered)["referrers"]]
        assert digests == found(sandbox, f"oci:ours:{TAG}") == [told.strip()]
        assert layout.find()["digest"] == busybox.find()["digest"]

    def test_one_made_by_hand_is_found_by_all(self, sandbox: Sandbox, busybox: Layout) -> None:
        sandbox.run("entrepot", "cp", f"oci:{busybox.path}:{TAG}", f"oci:ours:{TAG}")
        layout = Layout(sandbox.folder / "ours")
        made = attach(layout, layout.find(), b"{}")
        assert found(sandbox, f"oci:ours:{TAG}") == [made["digest"]]


def found(sandbox: Sandbox, address: str) -> list[str]:
    """Return the digests of what refers to an image."""
    told = json.loads(sandbox.run("entrepot", "referrers", "--output=json", address))
    return [one["digest"] for one in told["referrers"]]


def pushed(sandbox: Sandbox, file: str) -> Layout:
    """Read their file, and whatever else, with our `push` into a layout."""
    path = Path(tempfile.mkdtemp(dir=sandbox.folder)) / "read"
    sandbox.run("entrepot", "push", file, f"oci:{path}:{TAG}")
    return Layout(path)


def unnamed(image: Image) -> tuple[str, tuple[str, ...]]:
    return image.config, image.diff_ids


def inspected(sandbox: Sandbox, program: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Return config and diff ids of an image in docker's or podman's storage."""
    (told,) = json.loads(sandbox.run(program, "image", "inspect", name))
    return f"sha256:{told['Id'].removeprefix('sha256:')}", tuple(told["RootFS"]["Layers"])


def prepare(sandbox: Sandbox, request: pytest.FixtureRequest, program: str) -> None:
    """Make docker or podman ready, with no images, or report the test as not run."""
    require_program(program)
    require_root(program)
    if program == "docker":
        sandbox.environment["DOCKER_HOST"] = request.getfixturevalue("docker_host")
        Docker(sandbox).forget()
