"""Ends whose writer is killed, that several processes write to, and whose disk is full."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.adapters.ends.layout import LayoutEnd
from entrepot.adapters.ends.oci_archive import OciArchiveSource, OciArchiveTarget
from entrepot.oci.errors import StoreFull
from entrepot.ports.image_end import ImageSource, ImageTarget
from entrepot.testing import example_images as examples
from entrepot.testing.image_end_contents import (
    MIB,
    ScriptedContent,
    blob,
    contents,
    expected,
    fill,
)
from tests.integration.small_disk import SmallDisk, mounted
from tools.environment import ROOT

SIZE = 24 * MIB
CONTENT = bytes(range(251)) * (16 * MIB // 251)
IMAGE = examples.image(layers=[CONTENT, b"small"], compressed=False)
LAYER = IMAGE.layers[0]

CHILD = """
import asyncio, sys
from pathlib import Path
from tests.integration.test_ends import CONTENT, IMAGE, LAYER, blob, fill, target

async def stall(end):
    content = blob(CONTENT, LAYER, stalls_at=int(sys.argv[4]))
    task = asyncio.ensure_future(end.put_blob(content))
    await content.reached.wait()
    print("reached", flush=True)
    await task

async def write(end):
    await fill(end, IMAGE, *sys.argv[4:])
    await end.commit()
    await end.close()

asyncio.run({"stall": stall, "write": write}[sys.argv[1]](target(sys.argv[2], Path(sys.argv[3]))))
"""

KINDS = ["layout", "archive"]


def target(kind: str, path: Path) -> ImageTarget:
    return LayoutEnd(path) if kind == "layout" else OciArchiveTarget(str(path))


async def source(kind: str, path: Path) -> ImageSource:
    return LayoutEnd(path) if kind == "layout" else await OciArchiveSource.open(str(path))


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def complete(kind: str, path: Path) -> ScriptedContent:
    """Write the image and read it out; return the large layer as it was asked for."""
    content, end = blob(CONTENT, LAYER), target(kind, path)
    await end.put_blob(content)
    await fill(end, IMAGE, "1.0")
    await end.commit()
    await end.close()
    opened = await source(kind, path)
    assert await contents(opened, await opened.resolve()) == expected(IMAGE)
    await opened.close()
    return content


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [1 * MIB, 10 * MIB])
async def test_what_a_killed_process_has_left_is_continued(
    tmp_path: Path, kind: str, at: int
) -> None:
    path = tmp_path / "end"
    process = start("stall", kind, path, str(at))
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == "reached\n"
    process.kill()
    process.wait()
    process.stdout.close()
    content = await complete(kind, path)
    # Blocks that were on their way to the disk are lost.
    assert max(at - 3 * MIB, 0) <= content.offsets[0] <= at
    assert at == MIB or content.offsets[0] > 0


async def test_several_processes_write_to_one_layout(tmp_path: Path) -> None:
    tags = [f"tag-{number}" for number in range(4)]
    processes = [start("write", "layout", tmp_path / "end", tag) for tag in tags]
    assert [await asyncio.to_thread(one.wait) for one in processes] == [0] * len(tags)
    for one in processes:
        assert one.stdout is not None
        one.stdout.close()
    end = LayoutEnd(tmp_path / "end")
    assert list(await end.tags()) == tags
    assert await contents(end, await end.resolve()) == expected(IMAGE)
    hidden = [file for file in (tmp_path / "end").rglob(".*") if file.is_file()]
    assert hidden == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", SIZE) as disk:
        yield disk


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_disk_says_what_to_do_and_is_continued(disk: SmallDisk, kind: str) -> None:
    path = disk.path / "end"
    disk.fill(leave=8 * MIB)
    end = target(kind, path)
    with pytest.raises(StoreFull, match="free space and run the same command again"):
        await end.put_blob(blob(CONTENT, LAYER))
    assert not await end.has_blob(LAYER)
    await end.close()
    disk.clear()
    content = await complete(kind, path)
    assert content.offsets[0] > 4 * MIB
