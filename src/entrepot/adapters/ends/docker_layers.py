"""Layers as a docker archive keeps them: what each one is, found out by reading it once."""

import io
import threading
from dataclasses import dataclass
from typing import IO, Any

from entrepot.adapters.ends.archive_input import decompressor, read_plain
from entrepot.adapters.ends.block_reading import BLOCK, Region
from entrepot.adapters.ends.thread_work import StopWork
from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import ContentInvalid, DigestInvalid

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_MAGIC = 6


@dataclass(frozen=True, slots=True)
class ArchivedLayer:
    """A layer's descriptor, and the digest of what it is when decompressed."""

    descriptor: Descriptor
    diff_id: Digest


def read_layer(region: Region, diff_id: Digest, stop: threading.Event) -> ArchivedLayer:
    """Hash a layer as it is and decompressed, in one pass and constant memory.

    Raise DigestInvalid unless it is the layer that the image's config means, ContentInvalid if
    it is damaged or compressed in a way that images do not know.
    """
    raw = _HashedRegion(region, stop)
    head = region.read(0, _MAGIC)
    media_type = _media_type(head, region.where)
    source: IO[bytes] = io.BufferedReader(raw, BLOCK)
    opener = decompressor(head)
    plain, hasher = opener(source) if opener else None, Hasher(diff_id.algorithm)
    while plain is not None and (block := read_plain(plain, region.where)):
        hasher.update(block)
    while block := source.read(BLOCK):  # all of it, or what stands behind the compressed part
        if plain is None:
            hasher.update(block)
    if hasher.digest() != diff_id:
        raise DigestInvalid(
            f"{region.where} is not the layer that the image's config names ({diff_id}): it is "
            f"{hasher.digest()}; save the image anew",
            detail={"digest": str(diff_id), "actual": str(hasher.digest())},
        )
    return ArchivedLayer(Descriptor(media_type, raw.hasher.digest(), region.size), diff_id)


def _media_type(head: bytes, where: str) -> str:
    if head.startswith(_GZIP):
        return media_types.DOCKER_LAYER_GZIP
    if head.startswith(_ZSTD):
        return media_types.DOCKER_LAYER_ZSTD
    if decompressor(head) is not None:
        raise ContentInvalid(
            f"{where} is compressed with bzip2 or xz, which images in registries may not be; "
            "load it with docker and save it again"
        )
    return media_types.DOCKER_LAYER


class _HashedRegion(io.RawIOBase):
    """A region read front to back, hashed on the way, until `stop` is set."""

    def __init__(self, region: Region, stop: threading.Event) -> None:
        self.hasher = Hasher()
        self._region = region
        self._stop = stop
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._stop.is_set():
            raise StopWork
        block = self._region.read(self._at, len(buffer))
        self.hasher.update(block)
        self._at += len(block)
        buffer[: len(block)] = block
        return len(block)
