"""What tests of image editing share: images in memory, edited and read back."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.reference import Tag
from entrepot.services.image_editing import Change, EditOptions, edit
from entrepot.services.validation import validate
from entrepot.testing.example_images import ExampleImage, image
from entrepot.testing.memory_end import MemoryEnd
from tests.unit.adapters.rootfs import layers as tars

NEW = Tag("new")


def ignore(_event: object) -> None:
    """Take no notice of progress."""


def holding(*images: ExampleImage) -> MemoryEnd:
    """Return an End with these images."""
    end = MemoryEnd()
    for one in images:
        end.images.blobs |= {blob.digest: content for blob, content in one.blobs.items()}
        for descriptor, content in one.manifests.items():
            end.images.manifests[descriptor.digest] = descriptor.media_type, content
        end.images.roots[one.root.digest] = None
    return end


def base(**more: Any) -> ExampleImage:
    """Return an image of two layers of files."""
    return image(
        layers=[
            tars.layer(tars.folder("etc"), tars.file("etc/motd", b"hello"), tars.file("old")),
            tars.layer(tars.whiteout("old"), tars.file("bin/sh", b"#!")),
        ],
        **more,
    )


async def edited(
    one: ExampleImage,
    change: Change,
    *,
    source: MemoryEnd | None = None,
    options: EditOptions | None = None,
) -> tuple[MemoryEnd, Descriptor]:
    """Edit an image into an End of its own, where it is then valid and tagged."""
    target = MemoryEnd()
    origin = source or holding(one)
    root = await edit(origin, one.root, change, target, [NEW], ignore, options)
    assert await target.resolve(NEW) == root
    findings = await validate(target, root, ignore)
    assert [one for one in findings if one.severity == "error"] == []
    return target, root


def manifest(end: MemoryEnd, root: Descriptor) -> dict[str, Any]:
    """Return a manifest's document."""
    document: dict[str, Any] = json.loads(end.images.manifests[root.digest][1])
    return document


def config(end: MemoryEnd, root: Descriptor) -> dict[str, Any]:
    """Return an image's config."""
    digest = manifest(end, root)["config"]["digest"]
    found = {str(one): content for one, content in end.images.blobs.items()}
    document: dict[str, Any] = json.loads(found[digest])
    return document


def contents(end: MemoryEnd, root: Descriptor) -> list[bytes]:
    """Return the uncompressed layers of an image."""
    found = {str(one): content for one, content in end.images.blobs.items()}
    packed = [found[one["digest"]] for one in manifest(end, root)["layers"]]
    return [gzip.decompress(one) if one[:2] == b"\x1f\x8b" else one for one in packed]


async def files(folder: Path, layers: Sequence[bytes]) -> dict[str, str]:
    """Unpack layers and describe what came of them."""
    await tars.unpack(folder, *layers)
    return tars.tree(folder)
