"""Nothing of an image is unpacked that is not what its manifest and config say."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.adapters.rootfs.unpacked_directory import UnpackedDirectory
from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ContentInvalid, DigestInvalid, RegistryError, Unsupported
from entrepot.oci.layer_compression import Compression, compressed
from entrepot.ports.root_file_system import UnpackLimits
from entrepot.services.progress import BlobFinished, Event, Warned
from entrepot.services.unpacking import Unpacked, unpack
from entrepot.testing.example_images import image, index
from entrepot.testing.memory_end import MemoryEnd
from tests.unit.adapters.rootfs import layers as tars
from tests.unit.services.editing import base, holding, ignore, manifest


async def unpacked(
    folder: Path,
    source: MemoryEnd,
    root: Descriptor,
    *,
    limits: UnpackLimits | None = None,
    events: list[Event] | None = None,
) -> Unpacked:
    target = await UnpackedDirectory.open(folder / "root", ownership=False, limits=limits)
    report = ignore if events is None else events.append
    try:
        return await unpack(source, root, target, report, limits=limits)
    finally:
        await target.close()


@pytest.mark.parametrize("docker", [False, True])
async def test_layers_are_applied_in_order(tmp_path: Path, docker: bool) -> None:
    one = base(docker=docker)
    events: list[Event] = []
    done = await unpacked(tmp_path, holding(one), one.root, events=events)
    assert tars.tree(tmp_path / "root") == {
        "etc": "dir",
        "etc/motd": "hello",
        "bin": "dir",
        "bin/sh": "#!",
    }
    assert (done.layers, done.entries, done.total_bytes) == (2, 5, 7)
    finished = [event.descriptor for event in events if isinstance(event, BlobFinished)]
    assert finished == list(one.layers)


@pytest.mark.parametrize("kind", list(Compression))
async def test_all_packings_are_known(tmp_path: Path, kind: Compression) -> None:
    content = tars.layer(tars.file("a", b"1" * 3_000_000))
    source, root = with_layer(b"".join(compressed([content], kind)), kind, content)
    await unpacked(tmp_path, source, root)
    assert (tmp_path / "root/a").stat().st_size == 3_000_000


def with_layer(
    packed: bytes, kind: Compression, content: bytes, *, size: int = 0
) -> tuple[MemoryEnd, Descriptor]:
    """Return an image whose one layer is these bytes, said to be packed like this."""
    one = image(layers=[content])
    end = holding(one)
    document = manifest(end, one.root)
    types = {
        Compression.NONE: media_types.OCI_LAYER,
        Compression.GZIP: media_types.OCI_LAYER_GZIP,
        Compression.ZSTD: media_types.OCI_LAYER_ZSTD,
    }
    digest = Digest.of(packed)
    end.images.blobs[digest] = packed
    described = Descriptor(types[kind], digest, size or len(packed))
    document["layers"] = [described.to_json()]
    raw = json.dumps(document).encode()
    root = Descriptor(one.root.media_type, Digest.of(raw), len(raw))
    end.images.manifests[root.digest] = root.media_type, raw
    return end, root


TAR = tars.layer(tars.file("a", b"1" * 100_000))


@pytest.mark.parametrize(
    ("packed", "kind", "error", "told"),
    [
        (TAR, Compression.GZIP, ContentInvalid, "is a plain tar, but its media type says gzip"),
        (gzip.compress(TAR), Compression.ZSTD, ContentInvalid, "is gzip"),
        (gzip.compress(TAR), Compression.NONE, ContentInvalid, "is gzip"),
        (gzip.compress(TAR)[:-9], Compression.GZIP, ContentInvalid, "ends in the middle"),
        (gzip.compress(TAR) + b"rest", Compression.GZIP, ContentInvalid, "no whole gzip"),
        (gzip.compress(TAR + b"x"), Compression.GZIP, DigestInvalid, "the image's config says"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 99, Compression.ZSTD, ContentInvalid, "no whole zstd"),
    ],
)
async def test_what_is_not_as_told_leaves_nothing(
    tmp_path: Path, packed: bytes, kind: Compression, error: type[RegistryError], told: str
) -> None:
    source, root = with_layer(packed, kind, TAR)
    with pytest.raises(error, match=f"layer 1 .*{told}"):
        await unpacked(tmp_path, source, root)
    assert tars.names(tmp_path) == []


async def test_a_blob_that_is_another_is_never_applied(tmp_path: Path) -> None:
    one = base()
    source = holding(one)
    lower, _ = one.layers
    source.images.blobs[lower.digest] = gzip.compress(TAR)[: lower.size].ljust(lower.size, b"x")
    with pytest.raises(DigestInvalid):
        await unpacked(tmp_path, source, one.root)
    assert tars.names(tmp_path) == []


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.ZSTD])
async def test_bombs_are_refused(tmp_path: Path, kind: Compression) -> None:
    content = tars.layer(tars.file("a", bytes(30_000_000)))
    source, root = with_layer(b"".join(compressed([content], kind)), kind, content)
    limits = UnpackLimits(ratio=100, ratio_from=1_000_000)
    with pytest.raises(ContentInvalid, match="bomb"):
        await unpacked(tmp_path, source, root, limits=limits)
    assert tars.names(tmp_path) == []


async def test_indexes_and_artifacts_are_refused(tmp_path: Path) -> None:
    one = index()
    with pytest.raises(Unsupported, match="--platform"):
        await unpacked(tmp_path, holding(one), one.root)
    assert tars.names(tmp_path) == []


async def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    device = tars.special("null", b"3", devmajor=1, devminor=3)
    one = image(layers=[tars.layer(*[device] * 30)])
    events: list[Event] = []
    done = await unpacked(tmp_path, holding(one), one.root, events=events)
    assert len(done.skipped) == 30
    warned = [event.text for event in events if isinstance(event, Warned)]
    assert len(warned) == 21
    assert "'null'" in warned[0]
    assert "10 more" in warned[-1]


async def test_who_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    one = base()
    reached = asyncio.Event()

    class Stuck(MemoryEnd):
        async def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
            if descriptor == one.layers[1]:
                reached.set()
                await asyncio.Event().wait()
            async for chunk in super().blob(descriptor, offset):
                yield chunk

    source = Stuck(holding(one).images)
    task = asyncio.create_task(unpacked(tmp_path, source, one.root))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tars.names(tmp_path) == []
