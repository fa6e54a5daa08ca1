"""Compression of layers: which one a media type names, which one the bytes have, and both ways
through it in constant memory.

Chunks go in and out as iterators; who reads and writes files stands elsewhere.
Source: image-spec, layer.md and media-types.md; RFC 1952 (gzip), RFC 8878 (zstd).
"""

import zlib
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import chain
from typing import Any, Final

from entrepot.oci import media_types
from entrepot.oci.errors import ContentInvalid, Unsupported

GZIP_LEVEL: Final = 6
ZSTD_LEVEL: Final = 3

_OUTPUT: Final = 1024 * 1024
"""Most bytes that one step of decompression yields, whatever the input claims."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = frozenset(bytes([low, 0x2A, 0x4D, 0x18]) for low in range(0x50, 0x60))
_GZIP_WINDOW: Final = 31  # zlib: the largest window, with gzip's header
_ZSTD_WINDOW_LOG: Final = 27


class Compression(Enum):
    """How a layer's tar is packed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


_OF_MEDIA_TYPE: Final = {
    media_types.OCI_LAYER: Compression.NONE,
    media_types.OCI_LAYER_GZIP: Compression.GZIP,
    media_types.OCI_LAYER_ZSTD: Compression.ZSTD,
    media_types.OCI_NONDISTRIBUTABLE_LAYER: Compression.NONE,
    media_types.OCI_NONDISTRIBUTABLE_LAYER_GZIP: Compression.GZIP,
    media_types.OCI_NONDISTRIBUTABLE_LAYER_ZSTD: Compression.ZSTD,
    media_types.DOCKER_LAYER: Compression.NONE,
    media_types.DOCKER_LAYER_GZIP: Compression.GZIP,
    media_types.DOCKER_LAYER_ZSTD: Compression.ZSTD,
    media_types.DOCKER_FOREIGN_LAYER: Compression.NONE,
    media_types.DOCKER_FOREIGN_LAYER_GZIP: Compression.GZIP,
}
_OCI_LAYERS: Final = {
    Compression.NONE: media_types.OCI_LAYER,
    Compression.GZIP: media_types.OCI_LAYER_GZIP,
    Compression.ZSTD: media_types.OCI_LAYER_ZSTD,
}
_DOCKER_LAYERS: Final = {
    Compression.NONE: media_types.DOCKER_LAYER,
    Compression.GZIP: media_types.DOCKER_LAYER_GZIP,
    Compression.ZSTD: media_types.DOCKER_LAYER_ZSTD,
}


def is_layer(media_type: str) -> bool:
    """Say whether content of this type is a layer of files: a tar, packed or not."""
    return media_type in _OF_MEDIA_TYPE


def compression_of(media_type: str) -> Compression:
    """Return how a layer of this type is packed. Raise Unsupported if it is no layer of files."""
    try:
        return _OF_MEDIA_TYPE[media_type]
    except KeyError:
        raise Unsupported(
            f"{media_type[:255]!r} is no layer of files, so this is an artifact or an encrypted "
            "image; copy it as it is instead",
            detail={"mediaType": media_type[:255]},
        ) from None


def layer_media_type(compression: Compression, *, docker: bool) -> str:
    """Return the media type of a layer packed like this, in an OCI or a Docker manifest."""
    return (_DOCKER_LAYERS if docker else _OCI_LAYERS)[compression]


def recognise(start: bytes) -> Compression:
    """Return how content is packed that starts with these bytes (at least four, if it has)."""
    if start.startswith(_GZIP_MAGIC):
        return Compression.GZIP
    if start[:4] == _ZSTD_MAGIC or start[:4] in _ZSTD_SKIPPABLE:
        return Compression.ZSTD
    return Compression.NONE


def decompressed(
    chunks: Iterable[bytes], declared: Compression | None = None, where: str = "the layer"
) -> Iterator[bytes]:
    """Yield the content of packed `chunks`, at most 1 MiB at a time.

    Several gzip members or zstd frames, as parallel compressors write them, are one content.
    Raise ContentInvalid, naming `where`, if the bytes are damaged, cut off, or packed in
    another way than `declared`.
    """
    source = iter(chunks)
    start = b""
    while len(start) < 4 and (chunk := next(source, None)) is not None:
        start += chunk
    actual = recognise(start)
    if declared is not None and actual is not declared and (start or declared.value != "none"):
        raise ContentInvalid(
            f"{where} is {_kind(actual)}, but its media type says {_kind(declared)}; "
            "push the image again with a tool that names its layers rightly"
        )
    whole = chain((start,), source)
    match actual:
        case Compression.GZIP:
            return _gunzipped(whole, where)
        case Compression.ZSTD:
            return _unzstd(whole, where)
        case _:
            return whole


def _gunzipped(chunks: Iterable[bytes], where: str) -> Iterator[bytes]:
    member, begun = zlib.decompressobj(_GZIP_WINDOW), False
    for pending in chunks:
        while pending:
            begun = True
            try:
                output = member.decompress(pending, _OUTPUT)
            except zlib.error as error:
                raise _damaged(where, "gzip", str(error)) from None
            if output:
                yield output
            pending = member.unconsumed_tail
            if member.eof:
                pending = member.unused_data
                member, begun = zlib.decompressobj(_GZIP_WINDOW), False
            elif not pending and len(output) == _OUTPUT:
                # what was held back for want of room comes out without further input
                yield from _rest(member, where)
                if member.eof:
                    pending = member.unused_data
                    member, begun = zlib.decompressobj(_GZIP_WINDOW), False
    if begun:
        raise _damaged(where, "gzip", "it ends in the middle")


def _rest(member: Any, where: str) -> Iterator[bytes]:
    while not member.eof:
        try:
            output = member.decompress(b"", _OUTPUT)
        except zlib.error as error:
            raise _damaged(where, "gzip", str(error)) from None
        if not output:
            return
        yield output


def _unzstd(chunks: Iterable[bytes], where: str) -> Iterator[bytes]:
    zstd = _zstd()
    options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    frame, begun = zstd.ZstdDecompressor(options=options), False
    for chunk in chunks:
        pending: bytes = chunk
        while pending or (begun and not frame.needs_input):
            begun = True
            try:
                output = frame.decompress(pending, _OUTPUT)
            except zstd.ZstdError as error:
                raise _damaged(where, "zstd", str(error)) from None
            if output:
                yield output
            pending = b""
            if frame.eof:
                pending = frame.unused_data
                frame, begun = zstd.ZstdDecompressor(options=options), False
    if begun:
        raise _damaged(where, "zstd", "it ends in the middle")


def compressed(chunks: Iterable[bytes], compression: Compression) -> Iterator[bytes]:
    """Yield `chunks` packed, the same bytes for the same content: no time, no name, one level."""
    match compression:
        case Compression.NONE:
            yield from chunks
            return
        case Compression.GZIP:
            packer: Any = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        case Compression.ZSTD:
            packer = _zstd().ZstdCompressor(level=ZSTD_LEVEL)
    for chunk in chunks:
        if output := packer.compress(chunk):
            yield output
    yield packer.flush()


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from backports import zstd  # type: ignore[no-redef, unused-ignore]
    return zstd


def _kind(compression: Compression) -> str:
    return "a plain tar" if compression is Compression.NONE else compression.value


def _damaged(where: str, kind: str, reason: str) -> ContentInvalid:
    return ContentInvalid(
        f"{where} is no whole {kind} stream ({reason[:200]}); the image was pushed damaged, "
        "so build or push it again"
    )
