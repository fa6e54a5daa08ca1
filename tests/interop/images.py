"""Images made here, of what Debian's packages put on this machine. Nothing is fetched."""

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.interop.layouts import CONFIG, GZIP_LAYER, INDEX, LAYER, MANIFEST, Descriptor, Layout

CREATED: Final = "2024-01-01T00:00:00Z"
"""When all these images claim to have been made, so that they are the same in every run."""

TAG: Final = "1.0"
"""What the images are called in their layouts."""

HERE: Final = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
"""The architecture of this machine, in the word that images have for it."""

ELSEWHERE: Final = "riscv64" if HERE != "riscv64" else "amd64"

_APPLETS: Final = ("sh", "ls", "cat", "echo", "true")

File = tuple[str, bytes | str]
"""A file in a layer: its path, and its content or, as text, what it links to."""


def busybox(path: Path, program: Path) -> Layout:
    """Make the layout of an image with a shell: busybox (static), its applets, and a greeting.

    It has two layers, and runs.
    """
    files: list[File] = [("bin/busybox", program.read_bytes())]
    files += [(f"bin/{applet}", "busybox") for applet in _APPLETS]
    layout = Layout.create(path)
    layers = [layer(files), layer([("etc/motd", b"Goods from the entrepot\n")])]
    layout.tag(add_image(layout, layers, HERE), TAG)
    return layout


def multi_platform(path: Path, program: Path) -> Layout:
    """Make the layout of an index over images for two platforms that share a layer."""
    layout = Layout.create(path)
    shared = layer([("etc/motd", b"Goods from the entrepot\n")])
    children = []
    for architecture, content in ((HERE, program.read_bytes()), (ELSEWHERE, b"not for here\n")):
        image = add_image(layout, [shared, layer([("bin/busybox", content)])], architecture)
        children.append(image | {"platform": {"architecture": architecture, "os": "linux"}})
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
    layout.tag(layout.add_json(index, INDEX), TAG)
    return layout


def large(path: Path, block: bytes, blocks: int) -> Layout:
    """Make the layout of an image with one layer of `blocks` times `block`, not compressed.

    Every block starts with its number, so no two are the same. Constant memory.
    """
    layout = Layout.create(path)
    header = tarfile.TarInfo("large")
    header.size = len(block) * blocks
    hashed = hashlib.sha256()
    unnamed = path / "layer"
    with unnamed.open("wb") as output:
        numbered = (number.to_bytes(8, "big") + block[8:] for number in range(blocks))
        for part in (header.tobuf(), *numbered, bytes(-header.size % 512 + 1024)):
            hashed.update(part)
            output.write(part)
        size = output.tell()
    digest = f"sha256:{hashed.hexdigest()}"
    unnamed.rename(layout.file(digest))
    only = {"mediaType": LAYER, "digest": digest, "size": size}
    layout.tag(_add_manifest(layout, [only], [digest], HERE), TAG)
    return layout


def layer(files: Sequence[File]) -> bytes:
    """Return a layer's tar: folders, files and links, all of the same time and owner."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for folder in sorted({name.rpartition("/")[0] for name, _ in files}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, what in files:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            if isinstance(what, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, what
                tar.addfile(entry)
            else:
                entry.size = len(what)
                tar.addfile(entry, io.BytesIO(what))
    return content.getvalue()


def add_image(layout: Layout, layers: Sequence[bytes], architecture: str) -> Descriptor:
    """Store an image of these uncompressed layers; return its manifest's descriptor."""
    packed = [layout.add(gzip.compress(one, mtime=0), GZIP_LAYER) for one in layers]
    diff_ids = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]
    return _add_manifest(layout, packed, diff_ids, architecture)


def docker_archive(layout: Layout, path: Path, name: str) -> None:
    """Write a layout's image in the format of `docker save`."""
    manifest = layout.document(layout.find())
    config = layout.file(manifest["config"]["digest"])
    names = [f"{number}.tar" for number in range(len(manifest["layers"]))]
    table = [{"Config": f"{config.name}.json", "RepoTags": [name], "Layers": names}]
    with tarfile.open(path, "w") as archive:
        _add_bytes(archive, "manifest.json", json.dumps(table).encode())
        _add_bytes(archive, f"{config.name}.json", config.read_bytes())
        for file, one in zip(names, manifest["layers"], strict=True):
            packed = layout.file(one["digest"]).read_bytes()
            _add_bytes(archive, file, gzip.decompress(packed))


def _add_manifest(
    layout: Layout, layers: Sequence[Descriptor], diff_ids: Sequence[str], architecture: str
) -> Descriptor:
    config: dict[str, Any] = {
        "created": CREATED,
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/cat", "/etc/motd"]},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [{"created": CREATED, "created_by": "entrepot's tests"} for _ in diff_ids],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.add_json(config, CONFIG),
        "layers": list(layers),
    }
    return layout.add_json(manifest, MANIFEST)


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
