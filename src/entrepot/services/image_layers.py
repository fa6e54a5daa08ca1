"""Layers of images: made of tar files and directories, and put on top of an image."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import Unavailable
from entrepot.oci.image_config import History, ImageConfig, with_layers
from entrepot.oci.layer_compression import (
    Compression,
    compressed,
    decompressed,
    layer_media_type,
    recognise,
)
from entrepot.oci.layer_path import read_whiteout, split_name
from entrepot.oci.tar_reader import TarReader
from entrepot.services.directory_packing import Packing, packed_directory
from entrepot.services.image_editing import EPOCH, Change, Draft, DraftLayer
from entrepot.services.layer_spool import SpooledLayer, read_ahead, unnamed_file, write_spooled

_READ: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class NewLayer:
    """A layer that is ready to be put on an image; `close` gives its space back.

    `name` is what it was made of, for the history.
    """

    file: SpooledLayer
    diff_id: Digest
    compression: Compression
    name: str

    def close(self) -> None:
        """Give the space back."""
        self.file.close()


async def layer_of(
    path: Path,
    *,
    compression: Compression = Compression.GZIP,
    packing: Packing | None = None,
    folder: Path | None = None,
) -> NewLayer:
    """Make a layer of a tar (packed as `compression` says), of a tar.gz or tar.zst (kept as it
    is), or of what is in a directory. Its temporary file is in `folder`.

    Raise ContentInvalid for what is no layer, Unavailable for what cannot be read, StoreFull.
    """
    how = packing or Packing()
    return await asyncio.to_thread(_layer_of, path, compression, how, folder)


def append(layers: Sequence[NewLayer], *, created: str = EPOCH, comment: str = "") -> Change:
    """Return the edit that puts layers on top, and tells so in the history."""

    async def change(draft: Draft) -> Draft:
        return _with_new(draft, layers, created, comment)

    return change


def spooled(
    chunks: Iterable[bytes],
    compression: Compression,
    name: str,
    *,
    docker: bool = False,
    folder: Path | None = None,
) -> NewLayer:
    """Write a tar to a file, packed; return the layer. Blocks."""
    diff = Hasher()

    def hashed() -> Iterator[bytes]:
        for chunk in chunks:
            diff.update(chunk)
            yield chunk

    with closing(read_ahead(hashed())) as ahead:
        layer = _written(compressed(ahead, compression), compression, name, docker, folder)
    return NewLayer(layer, diff.digest(), compression, name)


def history_of(config: ImageConfig) -> tuple[dict[str, object], ...]:
    """Return the history, filled up where it tells of fewer layers than there are.

    Many tools stop at a history that does not fit, and some images have none.
    """
    missing = len(config.diff_ids) - config.layers_of_history
    filling = History(comment="no history was told").to_json()
    return (*({**one} for one in config.history), *({**filling} for _ in range(missing)))


def _with_new(draft: Draft, layers: Sequence[NewLayer], created: str, comment: str) -> Draft:
    history = [
        History(created, f"entrepot append {one.name}", comment=comment).to_json() for one in layers
    ]
    config = with_layers(
        draft.config,
        (*draft.config.diff_ids, *(one.diff_id for one in layers)),
        (*history_of(draft.config), *history),
    )
    return replace(
        draft, config=config, layers=(*draft.layers, *(drafted(one, draft) for one in layers))
    )


def drafted(layer: NewLayer, draft: Draft) -> DraftLayer:
    """Return the layer in the words of the image's format."""
    media_type = layer_media_type(layer.compression, docker=draft.is_docker)
    descriptor = replace(layer.file.descriptor, media_type=media_type)
    return DraftLayer(descriptor, layer.file.described(descriptor))


def _layer_of(
    path: Path, compression: Compression, packing: Packing, folder: Path | None
) -> NewLayer:
    name = path.resolve().name
    if path.is_dir():
        return spooled(packed_directory(path, packing), compression, name, folder=folder)
    chunks = _read(path)
    head = next(chunks, b"")
    content = chain((head,), chunks)  # not opened again: a pipe gives its bytes once
    actual = recognise(head)
    if actual is Compression.NONE:
        layer = spooled(content, compression, name, folder=folder)
    else:
        file = _written(content, actual, name, False, folder)
        layer = NewLayer(file, Digest.of(b""), actual, name)
    try:
        return replace(layer, diff_id=_checked(layer.file, f"the file {str(path)!r}"))
    except BaseException:
        layer.close()
        raise


def _read(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_READ):
                yield chunk
    except OSError as error:
        raise Unavailable(f"the file {str(path)!r} cannot be read: {error.strerror}") from error


def _checked(layer: SpooledLayer, where: str) -> Digest:
    """Read a layer as whoever unpacks it does; return its diff ID."""
    diff = Hasher()

    def hashed() -> Iterator[bytes]:
        for chunk in decompressed(layer.packed(), None, where):
            diff.update(chunk)
            yield chunk

    with closing(read_ahead(hashed())) as chunks:
        for member in TarReader(chunks, where):
            read_whiteout(split_name(member.name, where), where)
    return diff.digest()


def _written(
    chunks: Iterable[bytes],
    compression: Compression,
    name: str,
    docker: bool,
    folder: Path | None,
) -> SpooledLayer:
    hasher, size = Hasher(), 0
    file = unnamed_file(folder)
    try:
        for chunk in chunks:
            hasher.update(chunk)
            size += len(chunk)
            write_spooled(file, chunk)
    except BaseException:
        file.close()
        raise
    media_type = layer_media_type(compression, docker=docker)
    return SpooledLayer(Descriptor(media_type, hasher.digest(), size), file, name)
