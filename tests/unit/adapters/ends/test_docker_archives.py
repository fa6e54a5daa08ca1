"""Docker archives: as every docker has written them, and as ours have to be."""

import gzip
import io
import json
import os
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from entrepot.adapters.ends.docker_archive import DockerArchiveSource
from entrepot.adapters.ends.docker_archive_target import DockerArchiveTarget
from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    ConnectionLost,
    ContentInvalid,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestUnknown,
    NameInvalid,
    Unsupported,
)
from entrepot.oci.manifest import Manifest, parse_manifest
from entrepot.oci.reference import Tag
from entrepot.testing import example_images as examples
from entrepot.testing.image_end_contents import blob, blob_of, contents, expected, fill

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LAYERS = [b"first layer" * 99, b"second layer" * 99]


def config(layers: Sequence[bytes]) -> bytes:
    diff_ids = [str(Digest.of(one)) for one in layers]
    return json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()


def pack(path: Path, files: Mapping[str, bytes | str | list[Any]]) -> str:
    """Write a tar: bytes are files, text is what a link points to, lists are JSON."""
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                tar.addfile(entry)
                continue
            content = json.dumps(content).encode() if isinstance(content, list) else content
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return str(path)


def table(names: Sequence[str] | None, layers: Sequence[str], config: str = "c.json") -> list[Any]:
    return [{"Config": config, "RepoTags": names, "Layers": layers}]


async def manifest_of(path: str, reference: Tag | None = None) -> Manifest:
    source = await DockerArchiveSource.open(path, None, reference)
    try:
        root = await source.resolve()
        read = parse_manifest(await source.manifest(root), root.media_type)
        assert isinstance(read, Manifest)
        for descriptor in (read.config, *read.layers):
            assert Digest.of(await blob_of(source, descriptor)) == descriptor.digest
        return read
    finally:
        await source.close()


async def test_what_docker_before_25_saves_is_read(tmp_path: Path) -> None:
    """A layer that two images share is a link to the first one's folder."""
    first, second = config(LAYERS[:1]), config([LAYERS[0], LAYERS[1]])
    one, two = Digest.of(first).hex, Digest.of(second).hex
    path = pack(
        tmp_path / "saved.tar",
        {
            "aaaa/VERSION": b"1.0",
            "aaaa/json": b"{}",
            "aaaa/layer.tar": LAYERS[0],
            f"{one}.json": first,
            "bbbb/layer.tar": "../aaaa/layer.tar",
            "cccc/layer.tar": LAYERS[1],
            f"{two}.json": second,
            "manifest.json": [
                *table(["app:1"], ["aaaa/layer.tar"], f"{one}.json"),
                *table(
                    ["app:2", "app:latest"], ["bbbb/layer.tar", "cccc/layer.tar"], f"{two}.json"
                ),
            ],
            "repositories": b'{"app":{"1":"aaaa","2":"cccc"}}',
        },
    )
    read = await manifest_of(path, Tag("2"))
    assert read.media_type == media_types.DOCKER_MANIFEST
    assert [one.digest for one in read.layers] == [Digest.of(one) for one in LAYERS]
    assert {one.media_type for one in read.layers} == {media_types.DOCKER_LAYER}
    assert read.content == (await manifest_of(path, Tag("2"))).content
    source = await DockerArchiveSource.open(path, "docker.io/library/app")
    assert list(await source.tags()) == ["1", "2", "latest"]
    assert (await source.resolve()).digest == Digest.of(read.content)  # latest
    assert (await source.resolve(Digest.of(read.content))).size == len(read.content)
    await source.close()


@pytest.mark.parametrize(
    ("pack_layer", "media_type"),
    [
        (gzip.compress, media_types.DOCKER_LAYER_GZIP),
        (zstd.compress, media_types.DOCKER_LAYER_ZSTD),
        (
            lambda one: gzip.compress(one[:7]) + gzip.compress(one[7:]),
            media_types.DOCKER_LAYER_GZIP,
        ),
    ],
)
async def test_compressed_layers_are_known_by_their_bytes(
    tmp_path: Path, pack_layer: Any, media_type: str
) -> None:
    layers = {f"{number}.tar": pack_layer(one) for number, one in enumerate(LAYERS)}
    files = {"c.json": config(LAYERS), **layers, "manifest.json": table(["app:1"], list(layers))}
    read = await manifest_of(pack(tmp_path / "saved.tar", files))
    assert {one.media_type for one in read.layers} == {media_type}
    assert [one.digest for one in read.layers] == [Digest.of(one) for one in layers.values()]


BROKEN: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "another layer": ({"1.tar": b"other"}, DigestInvalid, "1.tar"),
    "a damaged layer": ({"1.tar": gzip.compress(LAYERS[1])[:-9]}, ContentInvalid, "damaged"),
    "a layer in xz": ({"1.tar": b"\xfd7zXZ\0" + b"x" * 99}, ContentInvalid, "xz"),
    "too few layers": ({"manifest.json": table([], ["0.tar"])}, ContentInvalid, "lists 1 layers"),
    "a lost layer": ({"1.tar": "../../etc/passwd"}, ContentInvalid, "missing"),
    "a lost config": ({"manifest.json": table([], [], "d.json")}, ContentInvalid, "missing"),
    "no config": ({"c.json": b"[]"}, ContentInvalid, "no config"),
    "no table": ({"manifest.json": b"{"}, ContentInvalid, "cannot be read"),
    "another table": ({"manifest.json": [7]}, ContentInvalid, "cannot be read"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_what_is_broken_is_named(tmp_path: Path, kind: str) -> None:
    change, error, message = BROKEN[kind]
    files = {"0.tar": LAYERS[0], "1.tar": LAYERS[1], "c.json": config(LAYERS)}
    files |= {"manifest.json": table([], ["0.tar", "1.tar"])} | change  # type: ignore[dict-item]
    with pytest.raises(error, match=message):
        await manifest_of(pack(tmp_path / "saved.tar", files))


async def test_a_config_that_is_not_its_name_is_refused(tmp_path: Path) -> None:
    name = f"{Digest.of(b'other').hex}.json"
    files = {name: config([]), "manifest.json": table([], [], name)}
    with pytest.raises(DigestInvalid, match=name):
        await manifest_of(pack(tmp_path / "saved.tar", files))


async def test_another_kind_of_archive_is_told_of(tmp_path: Path) -> None:
    path = pack(tmp_path / "layout.tar", {"index.json": b"{}", "oci-layout": b"{}"})
    with pytest.raises(ContentInvalid, match="oci-archive:"):
        await DockerArchiveSource.open(path)


async def test_an_image_is_found_by_any_of_its_names(tmp_path: Path) -> None:
    names = ["busybox:1", "localhost:5000/a/b:1"]
    files = {"c.json": config([]), "manifest.json": table(names, [])}
    path = pack(tmp_path / "saved.tar", files)
    for repository in ("busybox", "docker.io/library/busybox", "localhost:5000/a/b", None):
        source = await DockerArchiveSource.open(path, repository, Tag("1"))
        assert list(await source.tags()) == ["1"]
        await source.resolve()
        await source.close()
    source = await DockerArchiveSource.open(path, "other", Tag("1"))
    with pytest.raises(ManifestUnknown, match="busybox:1, localhost:5000/a/b:1"):
        await source.resolve()
    await source.close()


class TestTarget:
    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        return str(tmp_path / "ours.tar")

    def lines(self, path: str, name: str = "manifest.json") -> Any:
        with tarfile.open(path) as tar:
            file = tar.extractfile(name)
            assert file is not None
            return json.load(file)

    async def test_images_of_several_repositories_stand_beside_each_other(self, path: str) -> None:
        target = DockerArchiveTarget(path)
        first, second = examples.image("first"), examples.image("second")
        await fill(target.under("busybox"), first, "1", "latest")
        other = target.under("localhost:5000/a/b")
        await fill(other, second, "1")
        await other.close()
        await target.commit()
        await target.close()
        names = [one["RepoTags"] for one in self.lines(path)]
        assert names == [["busybox:1", "busybox:latest"], ["localhost:5000/a/b:1"]]
        full = [one["annotations"] for one in self.lines(path, "index.json")["manifests"]]
        assert [one["io.containerd.image.name"] for one in full] == [
            "docker.io/library/busybox:1",
            "docker.io/library/busybox:latest",
            "localhost:5000/a/b:1",
        ]
        for repository, example in (("busybox", first), ("localhost:5000/a/b", second)):
            source = await DockerArchiveSource.open(path, repository, Tag("1"))
            assert await contents(source, await source.resolve()) == expected(example)
            await source.close()

    async def test_a_layer_in_zstd_is_there_decompressed_too(self, path: str) -> None:
        packed = zstd.compress(LAYERS[0][:50]) + zstd.compress(LAYERS[0][50:])
        layer = Descriptor(media_types.OCI_LAYER_ZSTD, Digest.of(packed), len(packed))
        settings = config(LAYERS[:1])
        described = Descriptor(media_types.OCI_CONFIG, Digest.of(settings), len(settings))
        content = examples.document(
            {"schemaVersion": 2, "config": described.to_json(), "layers": [layer.to_json()]}
        )
        root = examples.described(content, media_types.OCI_MANIFEST)
        example = examples.ExampleImage(root, {root: content}, {described: settings, layer: packed})
        for lost in (True, False):
            target = DockerArchiveTarget(path, "app")
            if lost:
                with pytest.raises(ConnectionLost):
                    await target.put_blob(blob(packed, layer, breaks_at=10))
                await target.close()
                continue
            assert not await target.has_blob(layer)
            await fill(target, example, "1")
            assert await target.has_blob(layer)
            await target.commit()
            await target.close()
        (line,) = self.lines(path)
        with tarfile.open(path) as tar:
            plain = tar.extractfile(line["Layers"][0])
            assert plain is not None
            assert plain.read() == LAYERS[0]
        source = await DockerArchiveSource.open(path)
        assert await contents(source, await source.resolve()) == expected(example)
        await source.close()

    @pytest.mark.parametrize("arrived", [1000, 3000])
    async def test_a_layer_in_zstd_is_continued(self, path: str, arrived: int) -> None:
        """Of a layer that had come in part the rest is read, of a whole one nothing."""
        layer = os.urandom(3000)
        packed = zstd.compress(layer)
        descriptor = Descriptor(media_types.OCI_LAYER_ZSTD, Digest.of(packed), len(packed))
        target = DockerArchiveTarget(path, "app")
        if arrived < len(layer):
            with pytest.raises(ConnectionLost):
                await target.put_blob(blob(packed, descriptor, chunk=100, breaks_at=arrived))
        else:
            await target.put_blob(blob(packed, descriptor))
        await target.close()
        target = DockerArchiveTarget(path, "app")
        again = blob(packed, descriptor)
        await target.put_blob(again)
        assert again.offsets == ([arrived] if arrived < len(layer) else [])
        assert await target.has_blob(descriptor)
        await target.commit()
        await target.close()
        with tarfile.open(path) as tar:
            plain = tar.extractfile(f"blobs/sha256/{Digest.of(layer).hex}")
            assert plain is not None
            assert plain.read() == layer

    async def test_zstd_that_is_none_is_refused(self, path: str) -> None:
        target = DockerArchiveTarget(path, "app")
        content = b"no zstd at all"
        layer = Descriptor(media_types.OCI_LAYER_ZSTD, Digest.of(content), len(content))
        with pytest.raises(ContentInvalid, match="zstd"):
            await target.put_blob(blob(content, layer))
        assert not await target.has_blob(layer)
        await target.close()

    async def test_artifacts_are_refused(self, path: str) -> None:
        target = DockerArchiveTarget(path, "app")
        with pytest.raises(Unsupported, match="artifact"):
            await fill(target, examples.artifact(), "1")
        await target.close()

    async def test_an_image_without_all_of_its_layers_is_refused(
        self, path: str, tmp_path: Path
    ) -> None:
        target, image = DockerArchiveTarget(path, "app"), examples.image()
        with pytest.raises(ManifestBlobUnknown, match=r"blobs/sha256/"):
            await target.publish(image.root, image.content, [Tag("1")])
        await target.close()
        assert os.listdir(tmp_path) == []

    async def test_a_repository_must_be_one(self, path: str) -> None:
        with pytest.raises(NameInvalid, match="No Name"):
            DockerArchiveTarget(path, "No Name")

    async def test_an_image_without_a_name_has_none(self, path: str) -> None:
        target = DockerArchiveTarget(path)
        await fill(target, examples.image(), "1")
        await target.commit()
        await target.close()
        (line,) = self.lines(path)
        assert line["RepoTags"] is None
