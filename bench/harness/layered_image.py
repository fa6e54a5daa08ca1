"""An image of many large layers in an OCI layout, which every client can push.

The layers are real gzip, because clients look into them and compress what is not; but stored
without compression, so that making them and looking into them costs next to nothing.
"""

import hashlib
import json
import secrets
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.harness.content import MANIFEST_TYPE

CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
_BLOCK: Final = 1 << 20
_GZIP: Final = 16 + zlib.MAX_WBITS

Descriptor = Mapping[str, object]


def make(folder: Path, *, layers: int, layer_mib: int, tag: str) -> int:
    """Write the layout; return the number of bytes of its blobs."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    made = [_layer(blobs, layer_mib, number) for number in range(layers)]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in made]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _add(blobs, config, CONFIG_TYPE),
        "layers": [layer for layer, _ in made],
    }
    root = _add(blobs, manifest, MANIFEST_TYPE)
    named = {**root, "annotations": {"org.opencontainers.image.ref.name": tag}}
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [named]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return total(folder)


def total(folder: Path) -> int:
    """Return how many bytes the blobs of a layout have."""
    return sum(file.stat().st_size for file in (folder / "blobs").rglob("*") if file.is_file())


def _layer(blobs: Path, mib: int, number: int) -> tuple[Descriptor, str]:
    """Write a layer with one file; return its descriptor and the digest of its tar."""
    entry = tarfile.TarInfo(f"layer-{number}")
    entry.size = mib * _BLOCK
    random = secrets.token_bytes(_BLOCK)
    blocks = (index.to_bytes(8, "big") + random[8:] for index in range(mib))
    packed, plain, pack = hashlib.sha256(), hashlib.sha256(), zlib.compressobj(0, wbits=_GZIP)
    unnamed = blobs / f".{number}"
    with unnamed.open("wb") as file:
        for part in (entry.tobuf(), *blocks, bytes(1024)):
            plain.update(part)
            stored = pack.compress(part)
            packed.update(stored)
            file.write(stored)
        packed.update(rest := pack.flush())
        file.write(rest)
        size = file.tell()
    unnamed.rename(blobs / packed.hexdigest())
    digest = f"sha256:{packed.hexdigest()}"
    return {"mediaType": LAYER_TYPE, "digest": digest, "size": size}, f"sha256:{plain.hexdigest()}"


def _add(blobs: Path, document: Mapping[str, object], media_type: str) -> Descriptor:
    content = json.dumps(document).encode()
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}
