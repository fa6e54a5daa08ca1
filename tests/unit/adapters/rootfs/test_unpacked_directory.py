"""A directory is there whole, or not at all."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.adapters.rootfs.unpacked_directory import UnpackedDirectory
from entrepot.oci.errors import DigestInvalid, Unsupported
from tests.unit.adapters.rootfs.layers import file, folder, layer, names, needs_root, tree, unpack

ONE = layer(folder("a"), file("a/b", b"1"))


@pytest.mark.parametrize("prepare", ["nothing", "empty", "parents", "link"])
async def test_a_new_or_empty_directory_is_filled(tmp_path: Path, prepare: str) -> None:
    root = tmp_path / "x/y/root" if prepare == "parents" else tmp_path / "root"
    if prepare == "empty":
        root.mkdir()
    if prepare == "link":
        (tmp_path / "real").mkdir()
        root.symlink_to("real")
    await unpack(root, ONE)
    assert tree(root) == {"a": "dir", "a/b": "1"}
    assert not [name for name in names(root.parent) if name.startswith(".")]


@pytest.mark.parametrize("kind", ["file", "full"])
async def test_what_is_in_use_is_left_alone(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    if kind == "file":
        root.write_text("mine")
    else:
        root.mkdir()
        (root / "mine").write_text("mine")
    with pytest.raises(Unsupported, match="root"):
        await unpack(root, ONE)
    assert names(tmp_path) == ["root"]


async def test_it_is_replaced_when_asked_to(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "old").mkdir(parents=True)
    target = await UnpackedDirectory.open(root, replace=True)
    await target.apply([ONE], "layer 1")
    assert tree(root) == {"old": "dir"}
    await target.commit()
    await target.close()
    assert tree(root) == {"a": "dir", "a/b": "1"}
    assert names(tmp_path) == ["root"]


async def test_what_is_not_committed_disappears(tmp_path: Path) -> None:
    target = await UnpackedDirectory.open(tmp_path / "root")
    await target.apply([ONE], "layer 1")
    await target.close()
    await target.close()
    assert names(tmp_path) == []


async def test_what_the_content_raises_is_raised(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield ONE
        raise DigestInvalid("it is another one")

    target = await UnpackedDirectory.open(tmp_path / "root")
    with pytest.raises(DigestInvalid, match="another"):
        await target.apply(chunks(), "layer 1")
    await target.close()
    assert names(tmp_path) == []


async def test_two_may_work_side_by_side(tmp_path: Path) -> None:
    await asyncio.gather(unpack(tmp_path / "one", ONE), unpack(tmp_path / "two", ONE))
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from entrepot.adapters.rootfs.unpacked_directory import UnpackedDirectory

async def main() -> None:
    target = await UnpackedDirectory.open(Path(sys.argv[1]))
    def chunks():
        yield bytes.fromhex(sys.argv[2])
        os.kill(os.getpid(), signal.SIGKILL)
    await target.apply(chunks(), "layer 1")

asyncio.run(main())
"""


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "root"), ONE.hex()]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left.startswith(".root.")

    asyncio.run(unpack(tmp_path / "root", ONE))
    assert names(tmp_path) == ["root"]


@needs_root
def test_a_mount_point_is_filled_in_place(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "none", str(root)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("not run: nothing can be mounted here")
    try:
        closed = layer(folder(".", mode=0o711), folder("a", mode=0o555))
        asyncio.run(unpack(root, ONE, closed))
        assert tree(root) == {"a": "dir", "a/b": "1"}
        assert os.stat(root).st_mode & 0o777 == 0o711
    finally:
        subprocess.run(["umount", str(root)], check=True)
