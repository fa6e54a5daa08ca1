"""The layout in a folder: what stands on the disk, damaged files, others that write to it."""

import asyncio
import errno
import json
import os
from pathlib import Path

import pytest

from entrepot.adapters.ends.layout import LayoutEnd
from entrepot.adapters.ends.layout_source import blob_name
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    ConnectionLost,
    ContentInvalid,
    DigestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameUnknown,
)
from entrepot.oci.reference import Tag
from entrepot.testing import example_images as examples
from entrepot.testing.image_end_contents import blob, blob_of, fill

IMAGE = examples.image()
LAYER = IMAGE.layers[0]


@pytest.fixture
async def layout(tmp_path: Path) -> LayoutEnd:
    """A layout with one image."""
    end = LayoutEnd(tmp_path)
    await fill(end, IMAGE, "1.0")
    return end


def files(path: Path) -> set[str]:
    return {str(one.relative_to(path)) for one in path.rglob("*") if one.is_file()}


async def test_a_layout_holds_what_the_image_spec_says_and_nothing_else(
    layout: LayoutEnd, tmp_path: Path
) -> None:
    blobs = {blob_name(one.digest) for one in (*IMAGE.manifests, *IMAGE.blobs)}
    assert files(tmp_path) == {"oci-layout", "index.json", *blobs}
    assert json.loads((tmp_path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


async def test_what_broke_off_is_hidden_and_goes_when_it_is_whole(tmp_path: Path) -> None:
    end, content = LayoutEnd(tmp_path), os.urandom(3 << 20)
    wanted = blob(content).descriptor.digest
    with pytest.raises(ConnectionLost):
        await end.put_blob(blob(content, breaks_at=2 << 20))
    assert files(tmp_path) == {f"blobs/sha256/.{wanted.hex}.partial"}
    await end.put_blob(blob(content))
    assert files(tmp_path) == {blob_name(wanted)}


async def test_many_may_begin_a_layout(tmp_path: Path) -> None:
    """Several threads of one process, too, and again: the moment is short."""
    several = [examples.artifact(IMAGE.root, annotations={"n": str(n)}) for n in range(6)]
    for number in range(30):
        end = LayoutEnd(tmp_path / str(number))
        puts = (end.put_manifest(one.root, one.content) for one in several)
        await asyncio.gather(*puts)
        assert len(await end.referrers(IMAGE.root.digest)) == len(several)


async def test_a_layout_may_stand_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")  # as exFAT says it

    monkeypatch.setattr(os, "link", refuse)
    await fill(LayoutEnd(tmp_path), IMAGE, "1.0")
    assert json.loads((tmp_path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


async def test_what_was_never_begun_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost):
        await LayoutEnd(tmp_path).put_blob(blob(b"content", breaks_at=0))
    assert files(tmp_path) == set()


async def test_a_whole_partial_file_needs_no_source(tmp_path: Path) -> None:
    """Its writer was killed between the last byte and the rename."""
    content = blob(b"content" * 99)
    partial = tmp_path / "blobs" / "sha256" / f".{content.descriptor.digest.hex}.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"content" * 99)
    await LayoutEnd(tmp_path).put_blob(content)
    assert content.offsets == []
    assert files(tmp_path) == {blob_name(content.descriptor.digest)}


async def test_a_partial_file_that_is_too_long_is_begun_anew(tmp_path: Path) -> None:
    content = blob(b"content" * 99)
    partial = tmp_path / "blobs" / "sha256" / f".{content.descriptor.digest.hex}.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"content" * 999)
    await LayoutEnd(tmp_path).put_blob(content)
    assert content.offsets == [0]


async def test_a_second_writer_waits_and_finds_the_blob(tmp_path: Path) -> None:
    slow, other = blob(b"content" * 99, stalls_at=7), blob(b"content" * 99)
    first = asyncio.ensure_future(LayoutEnd(tmp_path).put_blob(slow))
    await slow.reached.wait()
    second = asyncio.ensure_future(LayoutEnd(tmp_path).put_blob(other))
    assert not (await asyncio.wait([second], timeout=0.1))[0]
    slow.resume()
    await asyncio.gather(first, second)
    assert other.offsets == []


async def test_writers_of_tags_do_not_lose_each_others(tmp_path: Path) -> None:
    names = [f"tag-{number}" for number in range(8)]
    await asyncio.gather(*(fill(LayoutEnd(tmp_path), IMAGE, name) for name in names))
    assert list(await LayoutEnd(tmp_path).tags()) == sorted(names)


@pytest.mark.parametrize("change", ["other bytes", "fewer bytes", "more bytes"])
async def test_a_damaged_manifest_is_named(layout: LayoutEnd, tmp_path: Path, change: str) -> None:
    file = tmp_path / blob_name(IMAGE.root.digest)
    content = file.read_bytes()
    changed = {"other bytes": content[::-1], "fewer bytes": content[:-1]}
    file.write_bytes(changed.get(change, content + b" "))
    with pytest.raises(DigestInvalid, match=IMAGE.root.digest.hex):
        await layout.resolve(Tag("1.0"))


async def test_a_blob_of_another_size_is_named_and_replaced(
    layout: LayoutEnd, tmp_path: Path
) -> None:
    file = tmp_path / blob_name(LAYER.digest)
    file.write_bytes(b"short")
    with pytest.raises(DigestInvalid, match=str(file)):
        await blob_of(layout, LAYER)
    assert not await layout.has_blob(LAYER)
    await layout.put_blob(blob(IMAGE.blobs[LAYER], LAYER))
    assert await blob_of(layout, LAYER) == IMAGE.blobs[LAYER]


async def test_what_is_no_file_is_not_opened(layout: LayoutEnd, tmp_path: Path) -> None:
    file = tmp_path / blob_name(LAYER.digest)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ContentInvalid, match=str(file)):
        await blob_of(layout, LAYER)


async def test_a_manifest_may_not_be_large(tmp_path: Path) -> None:
    end = LayoutEnd(tmp_path, max_manifest_size=len(IMAGE.content) - 1)
    await fill(end, IMAGE, "1.0")
    with pytest.raises(ManifestTooLarge):
        await end.resolve()


async def test_a_large_blob_is_no_manifest(layout: LayoutEnd) -> None:
    content = blob(bytes(5 << 20))
    await layout.put_blob(content)
    with pytest.raises(ManifestTooLarge):
        await layout.resolve(content.descriptor.digest)


async def test_a_manifest_that_only_an_index_lists_is_found_by_its_digest(tmp_path: Path) -> None:
    end, index = LayoutEnd(tmp_path), examples.index()
    await fill(end, index, "1.0")
    child = next(iter(index.manifests))
    assert await end.resolve(child.digest) == Descriptor(child.media_type, child.digest, child.size)


async def test_a_version_that_is_not_known_is_refused(layout: LayoutEnd, tmp_path: Path) -> None:
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    with pytest.raises(ContentInvalid, match="version"):
        await layout.resolve()


async def test_a_layout_whose_image_is_not_there_says_so(layout: LayoutEnd, tmp_path: Path) -> None:
    (tmp_path / blob_name(IMAGE.root.digest)).unlink()
    with pytest.raises(ManifestUnknown, match="not whole"):
        await layout.resolve()


async def test_a_folder_that_is_no_layout_is_named(tmp_path: Path) -> None:
    with pytest.raises(NameUnknown, match=str(tmp_path)):
        await LayoutEnd(tmp_path).resolve()


async def test_referrers_below_an_index_are_found(tmp_path: Path) -> None:
    end, subject = LayoutEnd(tmp_path), Digest.of(b"not here")
    gone = Descriptor("application/vnd.oci.image.manifest.v1+json", subject, 8)
    signature = examples.artifact(gone)
    await fill(end, examples.index((examples.HERE, signature)), "sha256-fallback")
    (found,) = await end.referrers(subject)
    assert found.digest == signature.root.digest
