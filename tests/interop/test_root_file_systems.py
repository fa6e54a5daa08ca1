"""Images come out as others unpack them, and what we have edited is good to them."""

import os
import stat
import tarfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from entrepot.adapters.ends.layout import LayoutEnd
from entrepot.adapters.rootfs.unpacked_directory import UnpackedDirectory
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.reference import Tag
from entrepot.services.flattening import Flattening, export
from entrepot.services.image_editing import edit
from entrepot.services.image_layers import append, layer_of
from entrepot.services.image_settings import ImageSettings, mutate
from entrepot.services.unpacking import unpack
from entrepot.services.validation import validate
from tests.interop.clients import Crane, require_root
from tests.interop.images import HERE, TAG, add_image
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.unit.adapters.rootfs import layers as tars

Tree = dict[str, tuple[object, ...]]

CAPABILITY = "\x01\x00\x00\x02\x00\x04" + "\x00" * 14


def ignore(_event: object) -> None:
    """Take no notice of progress."""


@pytest.fixture
def rich(tmp_path: Path) -> Layout:
    """The layout of an image with everything that layers can hold, over three of them."""
    layout = Layout.create(tmp_path / "rich")
    xattrs = {"SCHILY.xattr.security.capability": CAPABILITY}
    layers = [
        tars.layer(
            tars.folder("./", mode=0o755),
            tars.folder("usr/"),
            tars.folder("usr/lib/"),
            tars.symlink("lib", "usr/lib"),
            tars.file("usr/lib/one.so", b"1" * 10_000),
            tars.file("su", b"s", mode=0o4755),
            tars.file("owned", b"o", uid=1234, gid=4321, mode=0o640),
            tars.file("able", b"a", pax_headers=xattrs),
            tars.file("first", b"same"),
            tars.link("second", "first"),
            tars.folder("gone/"),
            tars.file("gone/in", b"x"),
            tars.folder("cleared/"),
            tars.file("cleared/old", b"x"),
            tars.file("was-file", b"x"),
            tars.folder("was-folder/"),
            tars.file("was-folder/in", b"x"),
            tars.folder("sticky/", mode=0o1777),
            tars.file("n" * 90 + "/" + "m" * 90, b"long"),
        ),
        tars.layer(
            tars.file("lib/two.so", b"2" * 5000),
            tars.whiteout("gone"),
            tars.folder("cleared/"),
            tars.opaque("cleared"),
            tars.file("cleared/new", b"n"),
            tars.folder("was-file/"),
            tars.file("was-file/in", b"y"),
            tars.file("was-folder", b"y"),
            tars.special("pipe", tarfile.FIFOTYPE, mode=0o600),
            tars.special("null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3),
        ),
        tars.layer(
            tars.file("first", b"changed"),
            tars.file("usr/lib/one.so", b"", mode=0o600),
            tars.whiteout("lib/two.so"),
            tars.symlink("su-link", "/su"),
        ),
    ]
    layout.tag(add_image(layout, layers, HERE), TAG)
    return layout


def tree(root: Path) -> Tree:
    """Describe every file: kind, mode, owner, time, links, content and attributes.

    Times of folders are left out: tools differ in whose they take.
    """
    found: Tree = {}
    for one in root.rglob("*"):
        about = one.lstat()
        content: object = about.st_rdev
        if one.is_symlink():
            content = str(one.readlink())
        elif one.is_file():
            content = one.read_bytes()
        is_folder = stat.S_ISDIR(about.st_mode)
        attributes = {
            name: os.getxattr(one, name, follow_symlinks=False)
            for name in os.listxattr(one, follow_symlinks=False)
        }
        numbers = (about.st_mode, about.st_uid, about.st_gid)
        more = () if is_folder else (about.st_mtime, about.st_nlink, content)
        found[str(one.relative_to(root))] = (*numbers, *more, *sorted(attributes.items()))
    return found


async def unpacked(layout: Path, root: Path, tag: str = TAG) -> Tree:
    end = LayoutEnd(layout, Tag(tag))
    target = await UnpackedDirectory.open(root)
    try:
        await unpack(end, await end.resolve(), target, ignore)
    finally:
        await target.close()
        await end.close()
    return tree(root)


@pytest.mark.real("umoci")
async def test_umoci_unpacks_the_same(sandbox: Sandbox, rich: Layout, busybox: Layout) -> None:
    require_root("umoci")
    for name, layout in (("rich", rich), ("busybox", busybox)):
        theirs = sandbox.folder / f"{name}-theirs"
        sandbox.run("umoci", "raw", "unpack", f"--image={layout.path}:{TAG}", theirs)
        assert await unpacked(layout.path, sandbox.folder / name) == tree(theirs)


@pytest.mark.real("podman")
async def test_podman_shows_the_same(sandbox: Sandbox, rich: Layout) -> None:
    require_root("podman")
    name = sandbox.run("podman", "pull", "--quiet", f"oci:{rich.path}:{TAG}").strip()
    theirs = Path(sandbox.run("podman", "image", "mount", name).strip())
    ours = await unpacked(rich.path, sandbox.folder / "ours")
    try:
        assert ours == tree(theirs)
    finally:
        sandbox.run("podman", "image", "unmount", name)


@pytest.mark.real("tar")
async def test_an_exported_tar_is_the_same(sandbox: Sandbox, rich: Layout) -> None:
    require_root("tar")
    end = LayoutEnd(rich.path, Tag(TAG))
    chunks = [chunk async for chunk in export(end, await end.resolve(), ignore)]
    root = sandbox.folder / "theirs"
    write(sandbox.folder / "exported.tar", chunks)
    make(root)
    sandbox.run("tar", "--xattrs", "--xattrs-include=*", "-xpf", "exported.tar", "-C", root)
    assert await unpacked(rich.path, sandbox.folder / "ours") == tree(root)


Edit = Callable[[LayoutEnd, Descriptor, LayoutEnd, Path], Awaitable[Descriptor]]


async def appended(
    source: LayoutEnd, root: Descriptor, target: LayoutEnd, folder: Path
) -> Descriptor:
    layer = await layer_of(folder)
    try:
        return await edit(source, root, append([layer]), target, [Tag("new")], ignore)
    finally:
        layer.close()


async def mutated(
    source: LayoutEnd, root: Descriptor, target: LayoutEnd, folder: Path
) -> Descriptor:
    change = mutate(ImageSettings(env={"A": "b"}, labels={"x": "y"}))
    return await edit(source, root, change, target, [Tag("new")], ignore)


async def flattened(
    source: LayoutEnd, root: Descriptor, target: LayoutEnd, folder: Path
) -> Descriptor:
    flattening = Flattening(ignore)
    try:
        return await edit(source, root, flattening.change, target, [Tag("new")], ignore)
    finally:
        flattening.close()


@pytest.mark.real("crane")
@pytest.mark.parametrize(
    ("how", "words"),
    [
        (appended, ["append", "--new_layer={tar}", "--base={base}", "--new_tag={new}"]),
        (mutated, ["mutate", "--env=A=b", "--label=x=y", "--tag={new}", "{base}"]),
        (flattened, ["flatten", "--tag={new}", "{base}"]),
    ],
)  # fmt: skip
async def test_crane_edits_to_the_same_files(
    sandbox: Sandbox, repository: str, rich: Layout, how: Edit, words: list[str]
) -> None:
    """And it finds nothing wrong with what we have edited."""
    require_root("the image")
    crane = Crane(sandbox)
    extra = sandbox.folder / "extra"
    make(extra / "opt")
    write(extra / "opt" / "app", [b"run"])
    os.utime(extra / "opt" / "app", (0, 0))
    sandbox.run("tar", "-cf", "extra.tar", "-C", extra, "opt")

    source, target = LayoutEnd(rich.path, Tag(TAG)), LayoutEnd(sandbox.folder / "ours", None)
    root = await how(source, await source.resolve(), target, extra)
    await target.commit()
    assert await validate(target, root, ignore) == []
    crane.upload(Layout(sandbox.folder / "ours"), f"{repository}:ours")
    sandbox.run("crane", "validate", "--remote", f"{repository}:ours")

    crane.upload(rich, f"{repository}:base")
    names = {"tar": "extra.tar", "base": f"{repository}:base", "new": f"{repository}:new"}
    sandbox.run("crane", *(word.format(**names) for word in words))
    sandbox.run("skopeo", "copy", "--src-tls-verify=false", f"docker://{repository}:new",
                f"oci:{sandbox.folder / 'theirs'}:new")  # fmt: skip
    ours = await unpacked(sandbox.folder / "ours", sandbox.folder / "a", "new")
    theirs = await unpacked(sandbox.folder / "theirs", sandbox.folder / "b", "new")
    if how is flattened:
        assert ours == await unpacked(rich.path, sandbox.folder / "base")
        for name in ("first", "second"):  # crane links the old file's other name to the new file
            del ours[name], theirs[name]
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.real("umoci", "busybox")
async def test_unpacking_takes_no_longer_than_elsewhere(sandbox: Sandbox) -> None:
    """Both as whole as they are; the fastest of three runs counts."""
    require_root("umoci")
    layout = Layout.create(sandbox.folder / "many")
    content = os.urandom(10_000)
    files = [tars.file(f"d{n % 300}/f{n}", content) for n in range(6000)]
    folders = [tars.folder(f"d{n}/") for n in range(300)]
    layout.tag(add_image(layout, [tars.layer(*folders, *files)], HERE), TAG)
    ours, theirs = [], []
    for run in range(3):
        began = time.perf_counter()
        await timed(layout.path, sandbox.folder / f"ours-{run}")
        between = time.perf_counter()
        sandbox.run("umoci", "raw", "unpack", f"--image={layout.path}:{TAG}", f"theirs-{run}")
        ours.append(between - began)
        theirs.append(time.perf_counter() - between)
    assert min(ours) <= 1.5 * min(theirs), (ours, theirs)


async def timed(layout: Path, root: Path) -> None:
    end = LayoutEnd(layout, Tag(TAG))
    target = await UnpackedDirectory.open(root)
    await unpack(end, await end.resolve(), target, ignore)
    await target.close()


def make(folder: Path) -> None:
    folder.mkdir(parents=True)


def write(path: Path, chunks: list[bytes]) -> None:
    path.write_bytes(b"".join(chunks))
