"""Whatever layers do, unpacking and flattening give what a simple model of a file tree says."""

import asyncio
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrepot.oci.errors import ContentInvalid
from entrepot.oci.file_tree import FileTree
from entrepot.oci.layer_compression import Compression, compressed, decompressed
from entrepot.oci.tar_member import Member
from entrepot.oci.tar_reader import TarReader
from entrepot.oci.tar_writer import END, encode_header, padding
from entrepot.services.flattening import _joined, _written
from tests.property.layer_contents import LayerInMemory
from tests.unit.adapters.rootfs import layers as tars

Op = tuple[Literal["file", "dir", "symlink", "link", "whiteout", "opaque"], str, str]
Tree = dict[str, str]

_paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
_ops = st.tuples(
    st.sampled_from(["file", "file", "dir", "symlink", "link", "whiteout", "opaque"]),
    _paths,
    st.sampled_from(["1", "2", "a", "a/b", "/c", "../b"]),
)


def valid(ops: Iterable[Op]) -> list[Op]:
    """Leave out what makes no sense in one layer: files below files, links to nothing."""
    kinds: dict[str, str] = {}
    kept: list[Op] = []
    for kind, path, more in ops:
        if kind in ("whiteout", "opaque"):
            kept.append((kind, path, more))
            continue
        above = [path[:at] for at, letter in enumerate(path) if letter == "/"]
        below = any(known.startswith(f"{path}/") for known in kinds)
        if path in kinds or any(kinds.get(one, "dir") != "dir" for one in above):
            continue
        if (kind != "dir" and below) or (kind == "link" and kinds.get(more) != "file"):
            continue
        kinds[path] = kind
        kept.append((kind, path, more))
    return kept


def model(layers: Iterable[list[Op]]) -> Tree:
    """Apply layers to a dictionary: first what they remove, then what they bring."""
    tree: Tree = {}
    for ops in layers:
        for kind, path, _ in ops:
            if kind == "whiteout":
                remove(tree, path)
                tree.pop(path, None)
            elif kind == "opaque" and tree.get(path) == "dir":
                remove(tree, path)
        for kind, path, more in ops:
            if kind in ("whiteout", "opaque"):
                continue
            for at, letter in enumerate(path):
                if letter == "/":
                    tree[path[:at]] = "dir"
            if kind == "dir":
                tree[path] = "dir"
                continue
            remove(tree, path)
            tree[path] = {"file": more, "link": tree.get(more, ""), "symlink": f"-> {more}"}[kind]
    return tree


def remove(tree: Tree, path: str) -> None:
    for below in [one for one in tree if one.startswith(f"{path}/")]:
        del tree[below]


def packed(ops: list[Op]) -> bytes:
    make = {
        "file": lambda path, more: tars.file(path, more.encode()),
        "dir": lambda path, more: tars.folder(path),
        "symlink": tars.symlink,
        "link": tars.link,
        "whiteout": lambda path, more: tars.whiteout(path),
        "opaque": lambda path, more: tars.opaque(path),
    }
    return tars.layer(*(make[kind](path, more) for kind, path, more in ops))


def unpacked(*layers: bytes) -> Tree:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        asyncio.run(tars.unpack(root, *layers))
        return tars.tree(root)


def flattened(layers: list[list[Op]]) -> bytes:
    tree = FileTree()
    contents = [packed(ops) for ops in layers]
    for number, content in enumerate(contents):
        tree.apply(TarReader([content]), f"layer {number}")
    return b"".join(_joined(_written([LayerInMemory(one) for one in contents], tree)))


def follows_symlinks(layers: list[list[Op]]) -> bool:
    """Say whether a path leads through a symlink, which the model does not know."""
    links = {path for ops in layers for kind, path, _ in ops if kind == "symlink"}
    paths = {path for ops in layers for _, path, _ in ops}
    return any(path.startswith(f"{link}/") for link in links for path in paths) or any(
        kind == "opaque" and path in links for ops in layers for kind, path, _ in ops
    )


sequences = (
    st.lists(st.lists(_ops, max_size=6).map(valid), min_size=1, max_size=4)
    .filter(lambda layers: not follows_symlinks(layers))
)  # fmt: skip


@given(sequences)
@example([[("file", "a", "1")], [("file", "a/b", "2"), ("whiteout", "a", "")]])
@example([[("file", "a/b", "1")], [("file", "a/c", "2"), ("opaque", "a", "")]])
def test_unpacking_follows_the_model(layers: list[list[Op]]) -> None:
    assert unpacked(*(packed(ops) for ops in layers)) == model(layers)


@given(sequences)
def test_flattening_follows_the_model(layers: list[list[Op]]) -> None:
    assert unpacked(flattened(layers)) == model(layers)


@given(st.lists(st.lists(_ops, max_size=6).map(valid), min_size=1, max_size=4))
def test_flattening_and_unpacking_agree_on_symlinks(layers: list[list[Op]]) -> None:
    try:
        whole = unpacked(*(packed(ops) for ops in layers))
    except ContentInvalid:
        with pytest.raises(ContentInvalid):
            flattened(layers)
    else:
        assert unpacked(flattened(layers)) == whole


_members = st.builds(
    Member,
    name=st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)
    .map(lambda name: name.rstrip(b"/") or b"a"),
    kind=st.sampled_from(["file", "directory", "fifo", "char", "block"]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mtime=st.integers(-(2**62), 2**62),
    device=st.just((0, 0)),
    xattrs=st.dictionaries(
        st.from_regex(r"user\.[a-z]{1,9}", fullmatch=True), st.binary(max_size=9)
    ),
)  # fmt: skip


@given(st.lists(_members, max_size=4), st.integers(1, 1000))
def test_what_is_written_is_read(members: list[Member], step: int) -> None:
    content = b"".join(encode_header(one) for one in members) + END
    chunks = [content[at : at + step] for at in range(0, len(content), step)]
    read = list(TarReader(chunks))
    assert [(one.name.rstrip(b"/"), one.mode, one.uid, one.gid, one.mtime) for one in read] == [
        (one.name, one.mode, one.uid, one.gid, one.mtime) for one in members
    ]
    assert [dict(one.xattrs) for one in read] == [dict(one.xattrs) for one in members]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), max_size=5), st.integers(0, 9))
def test_sparse_files_are_read_as_written(gaps: list[tuple[int, int]], tail: int) -> None:
    regions, end = [], 0
    for gap, length in gaps:
        regions.append((end + gap, length))
        end += gap + length
    stored = sum(length for _, length in regions)
    made = Member(b"s", "file", size=end + tail, regions=tuple(regions), stored=stored)
    content = encode_header(made) + b"x" * stored + padding(stored) + END
    reader = TarReader([content])
    (member,) = (
        (one.name, one.size, one.regions, b"".join(map(bytes, reader.content()))) for one in reader
    )
    assert member == (b"s", made.size, made.regions, b"x" * stored)


@given(st.binary(max_size=3000))
def test_any_bytes_are_a_tar_or_refused(content: bytes) -> None:
    try:
        for _ in TarReader([content]):
            pass
    except ContentInvalid:
        pass


@given(st.data())
def test_any_damage_is_a_tar_or_refused(data: st.DataObject) -> None:
    content = bytearray(tars.layer(tars.file("a" * 120, b"x" * 600), tars.symlink("b", "c" * 120)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    for start in range(0, len(content), 512):  # or a wrong checksum would hide all else
        if content[start + 257 : start + 262] == b"ustar":
            content[start + 148 : start + 156] = b" " * 8
            content[start + 148 : start + 156] = b"%06o\0 " % sum(content[start : start + 512])
    try:
        for _ in TarReader([bytes(content)]):
            pass
    except ContentInvalid:
        pass


@given(
    st.lists(st.binary(max_size=500), max_size=4),
    st.sampled_from(list(Compression)),
    st.integers(1, 64),
)
def test_packing_comes_undone_in_any_pieces(
    contents: list[bytes], compression: Compression, step: int
) -> None:
    """Also as several gzip members or zstd frames one after another."""
    packed = b"".join(b"".join(compressed([one], compression)) for one in contents)
    if compression is Compression.NONE:
        packed = b"plain" + packed
        contents = [b"plain", *contents]
    chunks = [packed[at : at + step] for at in range(0, len(packed), step)]
    if contents:
        assert b"".join(decompressed(chunks, compression)) == b"".join(contents)


@given(st.binary(min_size=20, max_size=500), st.sampled_from([Compression.GZIP, Compression.ZSTD]))
def test_what_is_cut_off_is_refused(content: bytes, compression: Compression) -> None:
    packed = b"".join(compressed([content], compression))
    for cut in (5, len(packed) // 2, len(packed) - 1):
        try:
            list(decompressed([packed[:cut]], compression))
        except ContentInvalid:
            continue
        raise AssertionError(f"{cut} of {len(packed)} bytes were enough")
