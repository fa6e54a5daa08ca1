"""An image goes from any End to any other with our program, and stays what it was."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docker_registry import RunningDockerRegistry
from tests.interop.ends import KINDS, Places, attach, here
from tests.interop.images import ELSEWHERE, HERE, TAG
from tests.interop.layouts import Descriptor, Layout
from tests.interop.sandbox import Sandbox
from tests.server import RunningServer

pytestmark = [pytest.mark.slow, pytest.mark.real("docker-registry", "busybox")]

MANY = [kind for kind in KINDS if kind != "docker-archive"]
"""The Ends that hold an image for many platforms."""

Seeded = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Signed:
    """An image for many platforms, to which artifacts refer: to the index, to an image below it,
    and to the first of these artifacts."""

    layout: Layout
    artifacts: tuple[Descriptor, ...]


@pytest.fixture(scope="module")
def places(
    new_sandbox: Callable[[], Sandbox],
    server: RunningServer,
    docker_registry: RunningDockerRegistry,
) -> Places:
    return Places(new_sandbox(), server.host, docker_registry.host)


@pytest.fixture(scope="module")
def signed(multi_platform: Layout, new_folder: Callable[[str], Path]) -> Signed:
    path = new_folder("signed") / "layout"
    shutil.copytree(multi_platform.path, path)
    layout = Layout(path)
    index = layout.find()
    sbom = attach(layout, index, b'{"spdxVersion":"SPDX-2.3"}')
    below = attach(layout, here(layout), b"of one platform")
    signature = attach(layout, sbom, b"signed", "application/vnd.example.signature")
    return Signed(layout, (sbom, below, signature))


@pytest.fixture(scope="module")
def seeded(
    places: Places, busybox: Layout, multi_platform: Layout, signed: Signed
) -> Callable[[str, str], str]:
    """Return where an image is that was put into an End before; once for all tests."""
    layouts = {"busybox": busybox, "multi_platform": multi_platform, "signed": signed.layout}
    known: dict[tuple[str, str], str] = {}

    def seed(kind: str, image: str) -> str:
        if (kind, image) not in known:
            address = places.new(kind)
            options = ("--referrers",) if image == "signed" else ()
            places.copy(f"oci:{layouts[image].path}:{TAG}", address, *options)
            known[kind, image] = address
        return known[kind, image]

    return seed


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_an_image_stays_the_same(
    places: Places, seeded: Seeded, busybox: Layout, source: str, target: str
) -> None:
    address = places.new(target)
    digest = places.copy(seeded(source, "busybox"), address)
    read = places.read(address)
    assert digest == read.find()["digest"] == busybox.find()["digest"]
    assert read.contents(read.find()) == busybox.contents(busybox.find())


@pytest.mark.parametrize("target", MANY)
@pytest.mark.parametrize("source", MANY)
def test_an_index_stays_the_same_with_all_that_refers_to_it(
    places: Places, seeded: Seeded, signed: Signed, source: str, target: str
) -> None:
    address = places.new(target)
    digest = places.copy(seeded(source, "signed"), address, "--referrers")
    read = places.read(address, "--referrers")
    assert digest == read.find()["digest"] == signed.layout.find()["digest"]
    for one in (signed.layout.find(), *signed.artifacts):
        assert read.contents(one) == signed.layout.contents(one)


@pytest.mark.parametrize("kind", MANY)
def test_what_refers_stays_behind_unless_asked_for(
    places: Places, seeded: Seeded, signed: Signed, kind: str
) -> None:
    address = places.new(kind)
    places.copy(seeded(kind, "signed"), address)
    read = places.read(address, "--referrers")
    assert read.contents(read.find()) == signed.layout.contents(signed.layout.find())
    assert not any(read.file(one["digest"]).exists() for one in signed.artifacts)


@pytest.mark.parametrize("source", MANY)
@pytest.mark.parametrize("architecture", [HERE, ELSEWHERE])
def test_a_docker_archive_takes_one_platform(
    places: Places, seeded: Seeded, multi_platform: Layout, source: str, architecture: str
) -> None:
    address = places.new("docker-archive")
    places.copy(seeded(source, "multi_platform"), address, "--platform", f"linux/{architecture}")
    (wanted,) = (
        one
        for one in multi_platform.document(multi_platform.find())["manifests"]
        if one["platform"]["architecture"] == architecture
    )
    read = places.read(address)
    assert read.find()["digest"] == wanted["digest"]
    assert read.contents(read.find()) == multi_platform.contents(wanted)


@pytest.mark.parametrize("command", ["pull", "save"])
def test_pull_and_save_choose_this_machines_platform_for_a_docker_archive(
    places: Places, seeded: Seeded, multi_platform: Layout, command: str
) -> None:
    file, source = f"{command}.tar", seeded("entrepot", "multi_platform")
    words = (source, f"docker-archive:{file}") if command == "pull" else (source, "-o", file)
    places.sandbox.run("entrepot", command, *words)
    read = places.read(f"docker-archive:{file}")
    assert read.image(read.find()) == multi_platform.image(here(multi_platform))


def test_cp_leaves_no_platform_out_unless_told(places: Places, seeded: Seeded) -> None:
    address = places.new("docker-archive")
    told = places.sandbox.fails("entrepot", "cp", seeded("oci", "multi_platform"), address)
    assert "--platform" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_a_pipe_is_an_end(
    places: Places, seeded: Seeded, busybox: Layout, kind: str, form: str
) -> None:
    address = places.new(kind)
    write = f"entrepot pull --format {form} {seeded(kind, 'busybox')} -"
    places.sandbox.run("sh", "-euc", f"{write} | entrepot push - {address}")
    read = places.read(address)
    assert read.contents(read.find()) == busybox.contents(busybox.find())


@pytest.mark.parametrize("kind", MANY)
def test_a_pipe_takes_an_index_with_all_that_refers_to_it(
    places: Places, seeded: Seeded, signed: Signed, kind: str
) -> None:
    address = places.new(kind)
    write = f"entrepot cp --referrers {seeded(kind, 'signed')} -"
    places.sandbox.run("sh", "-euc", f"{write} | entrepot cp --referrers - {address}")
    read = places.read(address, "--referrers")
    for one in (signed.layout.find(), *signed.artifacts):
        assert read.contents(one) == signed.layout.contents(one)


def test_a_journey_through_all_ends_changes_nothing(
    places: Places, seeded: Seeded, busybox: Layout
) -> None:
    address = seeded("oci", "busybox")
    for kind in [*KINDS, *reversed(KINDS)]:
        source, address = address, places.new(kind)
        assert places.copy(source, address) == busybox.find()["digest"]
    read = places.read(address)
    assert read.contents(read.find()) == busybox.contents(busybox.find())


@pytest.mark.parametrize("kind", MANY)
def test_one_platform_of_many(
    places: Places, seeded: Seeded, multi_platform: Layout, kind: str
) -> None:
    address = places.new(kind)
    places.copy(seeded(kind, "multi_platform"), address, "--platform", f"linux/{HERE}")
    read = places.read(address)
    assert read.image(read.find()) == multi_platform.image(here(multi_platform))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.endswith("-archive")])
def test_a_second_copy_sends_nothing(places: Places, seeded: Seeded, kind: str) -> None:
    """But to an archive, which is written anew every time."""
    address, source = places.new(kind), seeded("oci", "busybox")
    places.copy(source, address)
    told = places.sandbox.run("entrepot", "cp", "--output", "json", source, address)
    assert '"copied_bytes": 0' in told
