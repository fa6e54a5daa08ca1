"""What is pushed and pulled: bodies of a given size that are cheap to make distinct.

A large body is a shared file followed by 32 bytes of its own. So every push is of content the
server never saw, under a digest that costs nothing to compute, and out of the page cache.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
_TAIL_SIZE: Final = 32
_BLOCK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Body:
    """A large body: the first `shared` bytes of `file`, then `tail`."""

    file: Path
    shared: int
    tail: bytes
    digest: str

    @property
    def size(self) -> int:
        return self.shared + len(self.tail)


class Bodies:
    """Makes large bodies of `size` bytes on top of one file in `folder`."""

    def __init__(self, folder: Path, size: int) -> None:
        self._file = folder / "body"
        self._shared = size - _TAIL_SIZE
        self._hash = hashlib.sha256()
        with self._file.open("wb") as file:
            left = self._shared
            while left:
                block = secrets.token_bytes(min(left, _BLOCK))
                self._hash.update(block)
                file.write(block)
                left -= len(block)

    def fresh(self) -> Body:
        """Return a body unlike any before."""
        tail, whole = secrets.token_bytes(_TAIL_SIZE), self._hash.copy()
        whole.update(tail)
        return Body(self._file, self._shared, tail, f"sha256:{whole.hexdigest()}")


@dataclass(frozen=True, slots=True)
class Image:
    """An image of ordinary shape: a config, small layers and a large one."""

    config: bytes
    layers: tuple[bytes, ...]
    large: Body
    manifest: bytes

    @classmethod
    def make(cls, large: Body, *, layers: int = 7, layer_size: int = 1024) -> "Image":
        """Return an image with random layers of `layer_size` bytes on top of a large one."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {}}).encode()
        small = tuple(secrets.token_bytes(layer_size) for _ in range(layers))
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, digest_of(config), len(config)),
            "layers": [
                descriptor(LAYER_TYPE, large.digest, large.size),
                *(descriptor(LAYER_TYPE, digest_of(one), len(one)) for one in small),
            ],
        }
        return cls(config, small, large, json.dumps(manifest, indent=2).encode())


def digest_of(content: bytes) -> str:
    """Return the sha256 digest of small content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    """Return a descriptor as it stands in a manifest."""
    return {"mediaType": media_type, "digest": digest, "size": size}
