"""Flattening: the layers of an image become one, or a tar of its root file system.

Layers are fetched to temporary files and read twice: for what is left of them in the end, and for
the content of that. Nothing is unpacked, so it needs no rights.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ContentInvalid
from entrepot.oci.file_tree import FileTree, Inode
from entrepot.oci.image_config import History, with_layers
from entrepot.oci.layer_compression import Compression
from entrepot.oci.tar_member import Member
from entrepot.oci.tar_reader import TarReader
from entrepot.oci.tar_writer import END, encode_header, padding
from entrepot.ports.image_end import ImageSource
from entrepot.ports.root_file_system import UnpackLimits
from entrepot.services.image_content import layer_name, read_image, require_layers
from entrepot.services.image_editing import EPOCH, Draft, DraftLayer
from entrepot.services.image_layers import NewLayer, drafted, spooled
from entrepot.services.layer_spool import SpooledLayer, read_ahead, spool_layer
from entrepot.services.progress import Report

_PIECE: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Spool:
    """Where layers are kept meanwhile, and how large they may become. `folder` None is where
    temporary files go."""

    folder: Path | None = None
    limits: UnpackLimits = field(default_factory=UnpackLimits)


class Flattening:
    """The edit that makes one layer of all. `close` gives the new layer's space back, when the
    image has been published."""

    def __init__(
        self,
        report: Report,
        *,
        spool: Spool | None = None,
        compression: Compression = Compression.GZIP,
    ) -> None:
        self._report = report
        self._spool = spool or Spool()
        self._compression = compression
        self._made: list[NewLayer] = []

    async def change(self, draft: Draft) -> Draft:
        """Flatten a draft. See `image_editing.Change`."""
        assert draft.image is not None, "what is made from nothing is flat"
        async with _fetched(draft.layers, self._spool, self._report) as layers:
            chunks = _flattened(layers, draft.config.diff_ids, self._spool.limits)
            layer = await asyncio.to_thread(self._write, chunks)
        told = History(
            created=str(draft.config.document.get("created") or EPOCH),
            created_by="entrepot flatten",
            comment=f"{len(draft.layers)} layers of {draft.image.descriptor.digest}",
        )
        config = with_layers(draft.config, [layer.diff_id], [told.to_json()])
        return replace(draft, config=config, layers=(drafted(layer, draft),))

    def close(self) -> None:
        """Give the space back."""
        for layer in self._made:
            layer.close()

    def _write(self, chunks: Iterable[bytes]) -> NewLayer:
        layer = spooled(chunks, self._compression, "flattened", folder=self._spool.folder)
        self._made.append(layer)
        return layer


async def export(
    source: ImageSource, root: Descriptor, report: Report, *, spool: Spool | None = None
) -> AsyncIterator[bytes]:
    """Yield the tar of an image's root file system, as `docker export` does of a container.

    Raise Unsupported for an index or artifact, ContentInvalid, DigestInvalid. What is yielded is
    whole only if this ends normally.
    """
    image = await read_image(source, root)
    require_layers(image)
    place = spool or Spool()
    layers = [DraftLayer(layer, source) for layer in image.manifest.layers]
    async with _fetched(layers, place, report) as fetched:
        chunks = read_ahead(_flattened(fetched, image.config.diff_ids, place.limits))
        try:
            while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                yield chunk
        finally:
            await asyncio.to_thread(chunks.close)


@asynccontextmanager
async def _fetched(
    layers: Sequence[DraftLayer], spool: Spool, report: Report
) -> AsyncIterator[list[SpooledLayer]]:
    fetched: list[SpooledLayer] = []
    mine: list[SpooledLayer] = []
    try:
        for number, layer in enumerate(layers, 1):
            if isinstance(layer.origin, SpooledLayer):
                fetched.append(layer.origin)
                continue
            where = layer_name(number, layer.descriptor)
            origin = layer.origin
            mine.append(await spool_layer(origin, layer.descriptor, spool.folder, where, report))
            fetched.append(mine[-1])
        yield fetched
    finally:
        for one in mine:
            one.close()


def _flattened(
    layers: Sequence[SpooledLayer], diff_ids: Sequence[Digest], limits: UnpackLimits
) -> Iterator[bytes]:
    """Yield the tar of what layers add up to: directories and links first, then files in the
    order of the layers, so they can be streamed."""
    tree = FileTree()
    for layer, diff_id in zip(layers, diff_ids, strict=True):
        content = layer.content(diff_id, ratio=limits.ratio, ratio_from=limits.ratio_from)
        with closing(read_ahead(content)) as chunks:
            members = TarReader(chunks, layer.where)
            tree.apply(_counted(members, tree, limits), layer.where)
    yield from _joined(_written(layers, tree))


def _counted(members: TarReader, tree: FileTree, limits: UnpackLimits) -> Iterator[Member]:
    for member in members:
        if limits.entries is not None and tree.entries >= limits.entries:
            raise ContentInvalid(
                f"{members.where} brings the image to more than {limits.entries} entries, the "
                "limit; raise it if you trust the image"
            )
        yield member


def _written(layers: Sequence[SpooledLayer], tree: FileTree) -> Iterator[bytes]:
    names: dict[Inode, list[bytes]] = {}
    for path, inode in tree.files():
        name = b"/".join(path) or b"."
        if inode.member.kind == "directory":
            yield encode_header(replace(inode.member, name=name))
        else:
            names.setdefault(inode, []).append(name)
    contents: list[dict[int, Inode]] = [{} for _ in layers]
    for inode in names:
        if inode.member.kind == "file":
            contents[inode.layer][inode.ordinal] = inode
        else:
            yield from _without_content(inode.member, names[inode])
    for layer, wanted in zip(layers, contents, strict=True):
        if wanted:
            yield from _contents(layer, wanted, names)
    yield END


def _without_content(member: Member, names: Sequence[bytes]) -> Iterator[bytes]:
    yield encode_header(replace(member, name=names[0]))
    yield from _links(names)


def _links(names: Sequence[bytes]) -> Iterator[bytes]:
    for name in names[1:]:
        yield encode_header(Member(name, "link", target=names[0]))


def _contents(
    layer: SpooledLayer, wanted: dict[int, Inode], names: dict[Inode, list[bytes]]
) -> Iterator[bytes]:
    with closing(read_ahead(layer.content())) as chunks:
        reader = TarReader(chunks, layer.where)
        for ordinal, member in enumerate(reader):
            inode = wanted.get(ordinal)
            if inode is None:
                continue
            yield encode_header(replace(member, name=names[inode][0]))
            yield from map(bytes, reader.content())
            yield padding(member.stored)
            yield from _links(names[inode])


def _joined(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces worth handing over."""
    pending: list[bytes] = []
    size = 0
    for part in parts:
        pending.append(part)
        size += len(part)
        if size >= _PIECE:
            yield b"".join(pending)
            pending, size = [], 0
    if pending:
        yield b"".join(pending)
