"""Layouts and archives: others read ours, we read theirs, and the digests are the same."""

import asyncio
import json
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from entrepot.adapters.ends.docker_archive import DockerArchiveSource
from entrepot.adapters.ends.docker_archive_target import DockerArchiveTarget
from entrepot.adapters.ends.layout import LayoutEnd
from entrepot.adapters.ends.oci_archive import OciArchiveSource, OciArchiveTarget
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import ImageSource, ImageTarget
from entrepot.services.transfer import TransferOptions, Transferred, transfer
from tests.interop.clients import Docker, require_root
from tests.interop.images import TAG, docker_archive
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox

NAME = f"localhost/tests/busybox:{TAG}"
REPOSITORY = "localhost/tests/busybox"


def copy(
    source: Callable[[], Awaitable[ImageSource]] | ImageSource,
    target: Callable[[], ImageTarget],
    tag: str = TAG,
) -> Transferred:
    """Copy what the source's address names, all platforms of it."""

    async def run() -> Transferred:
        opened = await source() if callable(source) else source
        written = target()
        try:
            done = await transfer(
                opened, None, written, [Tag(tag)], TransferOptions(), lambda _: None
            )
            await written.commit()
            return done
        finally:
            await written.close()
            await opened.close()

    return asyncio.run(run())


def skopeo(sandbox: Sandbox, source: str, target: str) -> None:
    sandbox.run("skopeo", "copy", "--quiet", "--all", "--preserve-digests", source, target)


def to_layout(
    sandbox: Sandbox, source: Callable[[], Awaitable[ImageSource]], name: str = "read"
) -> Layout:
    """Read an End into a layout of ours, to be verified without our code."""
    copy(source, lambda: LayoutEnd(sandbox.folder / name))
    return Layout(sandbox.folder / name)


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("kind", ["busybox", "multi_platform"])
class TestSkopeo:
    @pytest.fixture
    def layout(self, kind: str, request: pytest.FixtureRequest) -> Layout:
        found: Layout = request.getfixturevalue(kind)
        return found

    def test_reads_our_layout(self, sandbox: Sandbox, layout: Layout) -> None:
        copy(LayoutEnd(layout.path), lambda: LayoutEnd(sandbox.folder / "ours"))
        skopeo(sandbox, f"oci:{sandbox.folder}/ours:{TAG}", f"oci:{sandbox.folder}/theirs:{TAG}")
        theirs = Layout(sandbox.folder / "theirs")
        assert theirs.contents(theirs.find()) == layout.contents(layout.find())

    def test_reads_our_archive(self, sandbox: Sandbox, layout: Layout) -> None:
        archive = sandbox.folder / "ours.tar"
        copy(LayoutEnd(layout.path), lambda: OciArchiveTarget(str(archive)))
        skopeo(sandbox, f"oci-archive:{archive}:{TAG}", f"oci:{sandbox.folder}/theirs:{TAG}")
        theirs = Layout(sandbox.folder / "theirs")
        assert theirs.contents(theirs.find()) == layout.contents(layout.find())

    def test_writes_layouts_that_we_read(self, sandbox: Sandbox, layout: Layout) -> None:
        skopeo(sandbox, f"oci:{layout.path}:{TAG}", f"oci:{sandbox.folder}/theirs:{TAG}")

        async def source() -> ImageSource:
            return LayoutEnd(sandbox.folder / "theirs", Tag(TAG))

        ours = to_layout(sandbox, source)
        assert ours.contents(ours.find()) == layout.contents(layout.find())

    def test_writes_archives_that_we_read(self, sandbox: Sandbox, layout: Layout) -> None:
        archive = sandbox.folder / "theirs.tar"
        skopeo(sandbox, f"oci:{layout.path}:{TAG}", f"oci-archive:{archive}:{TAG}")
        ours = to_layout(sandbox, lambda: OciArchiveSource.open(str(archive), Tag(TAG)))
        assert ours.contents(ours.find()) == layout.contents(layout.find())

    def test_both_write_to_one_layout(self, sandbox: Sandbox, layout: Layout) -> None:
        both = sandbox.folder / "both"
        skopeo(sandbox, f"oci:{layout.path}:{TAG}", f"oci:{both}:theirs")
        copy(LayoutEnd(layout.path), lambda: LayoutEnd(both), "ours")
        skopeo(sandbox, f"oci:{layout.path}:{TAG}", f"oci:{both}:theirs-again")
        names = ("theirs", "ours", "theirs-again")
        assert sorted(asyncio.run(LayoutEnd(both).tags())) == sorted(names)
        for name in names:
            skopeo(sandbox, f"oci:{both}:{name}", f"oci:{sandbox.folder}/{name}:{TAG}")


@pytest.mark.real("skopeo")
def test_skopeo_reads_our_docker_archive(sandbox: Sandbox, busybox: Layout) -> None:
    archive = sandbox.folder / "ours.tar"
    copy(LayoutEnd(busybox.path), lambda: DockerArchiveTarget(str(archive), REPOSITORY))
    told = json.loads(sandbox.run("skopeo", "inspect", f"docker-archive:{archive}:{NAME}"))
    assert told["RepoTags"] == []
    sandbox.run(
        "skopeo", "copy", f"docker-archive:{archive}:{NAME}", f"oci:{sandbox.folder}/theirs:{TAG}"
    )
    theirs = Layout(sandbox.folder / "theirs")
    image = theirs.image(theirs.find())
    assert image.diff_ids == busybox.image(busybox.find()).diff_ids


@pytest.mark.real("skopeo")
def test_skopeo_writes_docker_archives_that_we_read(sandbox: Sandbox, busybox: Layout) -> None:
    archive = sandbox.folder / "theirs.tar"
    sandbox.run("skopeo", "copy", f"oci:{busybox.path}:{TAG}", f"docker-archive:{archive}:{NAME}")
    ours = to_layout(sandbox, lambda: DockerArchiveSource.open(str(archive), REPOSITORY, Tag(TAG)))
    assert ours.image(ours.find()).config == busybox.image(busybox.find()).config


@pytest.mark.real("umoci")
def test_umoci_unpacks_our_layout(sandbox: Sandbox, busybox: Layout) -> None:
    require_root("umoci")
    copy(LayoutEnd(busybox.path), lambda: LayoutEnd(sandbox.folder / "ours"))
    sandbox.run("umoci", "unpack", f"--image=ours:{TAG}", "bundle")
    motd = sandbox.folder / "bundle" / "rootfs" / "etc" / "motd"
    assert motd.read_text() == "Goods from the entrepot\n"


@pytest.mark.real("podman")
class TestPodman:
    @pytest.fixture(autouse=True)
    def root(self) -> None:
        require_root("podman")

    @pytest.mark.parametrize("zstd", [False, True])
    def test_loads_our_docker_archive(self, sandbox: Sandbox, busybox: Layout, zstd: bool) -> None:
        layout = recompressed(busybox, sandbox.folder / "zstd") if zstd else busybox
        archive = sandbox.folder / "ours.tar"
        copy(LayoutEnd(layout.path), lambda: DockerArchiveTarget(str(archive), REPOSITORY))
        sandbox.run("podman", "load", "--quiet", "--input", archive)
        (told,) = json.loads(sandbox.run("podman", "image", "inspect", NAME))
        image = layout.image(layout.find())
        assert (f"sha256:{told['Id']}", tuple(told["RootFS"]["Layers"])) == (
            image.config,
            image.diff_ids,
        )

    def test_loads_our_oci_archive(self, sandbox: Sandbox, busybox: Layout) -> None:
        archive = sandbox.folder / "ours.tar"
        copy(LayoutEnd(busybox.path), lambda: OciArchiveTarget(str(archive)))
        sandbox.run("podman", "load", "--quiet", "--input", archive)
        ids = sandbox.run("podman", "images", "--quiet", "--no-trunc").split()
        assert ids == [busybox.image(busybox.find()).config]

    @pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
    def test_saves_what_we_read(self, sandbox: Sandbox, busybox: Layout, form: str) -> None:
        sandbox.run("podman", "pull", "--quiet", f"oci:{busybox.path}:{TAG}")
        (name,) = sandbox.run("podman", "images", "--quiet", "--no-trunc").split()
        sandbox.run("podman", "tag", name, NAME)
        archive = str(sandbox.folder / "theirs.tar")
        sandbox.run("podman", "save", "--quiet", f"--format={form}", "--output", archive, NAME)

        async def source() -> ImageSource:
            if form == "oci-archive":
                return await OciArchiveSource.open(archive, Tag(TAG))
            return await DockerArchiveSource.open(archive, REPOSITORY, Tag(TAG))

        ours = to_layout(sandbox, source)
        image, expected = ours.image(ours.find()), busybox.image(busybox.find())
        assert (image.config, image.diff_ids) == (expected.config, expected.diff_ids)


@pytest.mark.real("docker")
class TestDocker:
    @pytest.fixture
    def docker(self, sandbox: Sandbox, docker_host: str) -> Docker:
        sandbox.environment["DOCKER_HOST"] = docker_host
        return Docker(sandbox)

    @pytest.mark.parametrize("zstd", [False, True])
    def test_loads_our_docker_archive(self, docker: Docker, busybox: Layout, zstd: bool) -> None:
        sandbox = docker.sandbox
        layout = recompressed(busybox, sandbox.folder / "zstd") if zstd else busybox
        archive = sandbox.folder / "ours.tar"
        copy(LayoutEnd(layout.path), lambda: DockerArchiveTarget(str(archive), REPOSITORY))
        assert NAME in sandbox.run("docker", "load", "--input", archive)
        (told,) = json.loads(sandbox.run("docker", "image", "inspect", NAME))
        image = layout.image(layout.find())
        assert (told["Id"], tuple(told["RootFS"]["Layers"])) == (image.config, image.diff_ids)

    def test_saves_what_we_read(self, docker: Docker, busybox: Layout) -> None:
        sandbox = docker.sandbox
        packed, saved = sandbox.folder / "packed.tar", sandbox.folder / "saved.tar"
        docker_archive(busybox, packed, NAME)
        sandbox.run("docker", "load", "--input", packed)
        sandbox.run("docker", "tag", NAME, f"{REPOSITORY}:again")
        sandbox.run("docker", "save", "--output", saved, NAME, f"{REPOSITORY}:again")
        ours = to_layout(
            sandbox, lambda: DockerArchiveSource.open(str(saved), REPOSITORY, Tag("again"))
        )
        image, expected = ours.image(ours.find()), busybox.image(busybox.find())
        assert (image.config, image.diff_ids) == (expected.config, expected.diff_ids)


def test_a_docker_archive_keeps_the_digests(sandbox: Sandbox, busybox: Layout) -> None:
    archive = sandbox.folder / "ours.tar"
    copy(LayoutEnd(busybox.path), lambda: DockerArchiveTarget(str(archive), REPOSITORY))
    ours = to_layout(sandbox, lambda: DockerArchiveSource.open(str(archive), REPOSITORY))
    assert ours.contents(ours.find()) == busybox.contents(busybox.find())
    with tarfile.open(archive) as tar:
        assert all(entry.isfile() and entry.mtime == entry.uid == 0 for entry in tar)


def recompressed(layout: Layout, path: Path) -> Layout:
    """Make a layout of the same image with layers in zstd."""
    import gzip
    import sys

    if sys.version_info >= (3, 14):
        from compression.zstd import compress
    else:
        from backports.zstd import compress
    made = Layout.create(path)
    manifest = layout.document(layout.find())
    config = layout.document(manifest["config"])
    manifest["config"] = made.add(
        layout.file(manifest["config"]["digest"]).read_bytes(), manifest["config"]["mediaType"]
    )
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])
    manifest["layers"] = [
        made.add(
            compress(gzip.decompress(layout.file(one["digest"]).read_bytes())),
            "application/vnd.oci.image.layer.v1.tar+zstd",
        )
        for one in manifest["layers"]
    ]
    made.tag(made.add_json(manifest, manifest["mediaType"]), TAG)
    return made
