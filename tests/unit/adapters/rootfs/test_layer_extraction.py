"""Layers become the files that the image-spec says, with all that belongs to them."""

import os
import stat
import tarfile
from itertools import permutations
from pathlib import Path

import pytest

from entrepot.oci.errors import ContentInvalid
from entrepot.ports.root_file_system import UnpackLimits
from tests.unit.adapters.rootfs.layers import (
    TIME,
    Entry,
    file,
    folder,
    layer,
    link,
    names,
    needs_root,
    opaque,
    padded,
    pax,
    raw_header,
    special,
    symlink,
    tree,
    unpack,
    whiteout,
)

LOWER = layer(folder("a"), file("a/x", b"1"), file("a/y", b"2"), folder("a/b"), file("a/b/z", b"3"))


@pytest.mark.parametrize(
    ("upper", "left"),
    [
        ([whiteout("a/x")], {"a": "dir", "a/y": "2", "a/b": "dir", "a/b/z": "3"}),
        ([whiteout("a/b")], {"a": "dir", "a/x": "1", "a/y": "2"}),
        ([whiteout("a")], {}),
        ([opaque("a")], {"a": "dir"}),
        ([opaque("")], {}),
        ([whiteout("a/none"), opaque("none")], {"a": "dir", "a/x": "1", "a/y": "2"}
         | {"a/b": "dir", "a/b/z": "3"}),
        ([whiteout("a"), folder("a"), file("a/n", b"4")], {"a": "dir", "a/n": "4"}),
        ([opaque("a"), file("a/n", b"4")], {"a": "dir", "a/n": "4"}),
        ([opaque("a"), file("a/b/n", b"4")], {"a": "dir", "a/b": "dir", "a/b/n": "4"}),
        ([whiteout("a"), file("a", b"4")], {"a": "4"}),
        ([file("a", b"4")], {"a": "4"}),
        ([symlink("a", "x")], {"a": "-> x"}),
    ],
)  # fmt: skip
async def test_whiteouts_remove_what_is_below_in_any_order(
    tmp_path: Path, upper: list[Entry], left: dict[str, str]
) -> None:
    for number, entries in enumerate(permutations(upper)):
        if any(one.isdir() for one, _ in entries[1:]):
            continue  # a folder's own entry stands before what is in it
        root = tmp_path / str(number)
        await unpack(root, LOWER, layer(*entries))
        assert tree(root) == left, [one.name for one, _ in entries]


@pytest.mark.parametrize(
    ("layers", "left"),
    [
        ([[file("a", b"1")], [folder("a"), file("a/b", b"2")]], {"a": "dir", "a/b": "2"}),
        ([[file("a", b"1")], [file("a/b", b"2")]], {"a": "dir", "a/b": "2"}),
        ([[file("a", b"1"), file("a", b"2")]], {"a": "2"}),
        ([[file("a", b"1"), link("b", "a")], [file("a", b"2")]], {"a": "2", "b": "1"}),
        ([[file("a", b"1")], [link("b", "a")]], {"a": "1", "b": "1"}),
        ([[file("a", b"1")], [link("a", "a")]], {"a": "1"}),
        ([[symlink("a", "b")], [file("a", b"1")]], {"a": "1"}),
        ([[folder("d"), symlink("l", "d")], [folder("l")]], {"d": "dir", "l": "dir"}),
        (
            [[folder("usr/lib"), symlink("lib", "usr/lib")], [file("lib/so", b"1")]],
            {"usr": "dir", "usr/lib": "dir", "usr/lib/so": "1", "lib": "-> usr/lib"},
        ),
        (
            [[symlink("lib", "/usr/lib"), file("lib/so", b"1")]],
            {"usr": "dir", "usr/lib": "dir", "usr/lib/so": "1", "lib": "-> /usr/lib"},
        ),
        (
            [
                [file("usr/lib/so", b"1"), symlink("lib", "usr/lib")],
                [whiteout("lib/so"), file("lib/new", b"2")],
            ],
            {"usr": "dir", "usr/lib": "dir", "usr/lib/new": "2", "lib": "-> usr/lib"},
        ),
        ([[file("/./a//b", b"1")]], {"a": "dir", "a/b": "1"}),
        ([[symlink("a", "b"), link("c", "a")]], {"a": "-> b", "c": "-> b"}),
        ([[folder("a"), special("a/pipe", tarfile.FIFOTYPE)]], {"a": "dir", "a/pipe": "special"}),
    ],
)
async def test_later_entries_replace_earlier_ones(
    tmp_path: Path, layers: list[list[Entry]], left: dict[str, str]
) -> None:
    await unpack(tmp_path / "root", *(layer(*entries) for entries in layers))
    assert tree(tmp_path / "root") == left


async def test_modes_and_times_are_kept(tmp_path: Path) -> None:
    await unpack(
        tmp_path / "root",
        layer(
            folder(".", mode=0o750),
            folder("closed", mode=0o555),
            file("closed/in", b"1", mode=0o400),
            folder("tmp", mode=0o1777),
            symlink("link", "nowhere"),
            file("implied/in"),
        ),
        layer(file("tmp/later")),
    )
    about = {name: (tmp_path / "root" / name).lstat() for name in (".", "closed", "tmp", "link")}
    modes = {name: stat.S_IMODE(one.st_mode) for name, one in about.items() if name != "link"}
    assert modes == {".": 0o750, "closed": 0o555, "tmp": 0o1777}
    assert {one.st_mtime for one in about.values()} == {TIME}
    assert stat.S_IMODE((tmp_path / "root/closed/in").stat().st_mode) == 0o400
    assert stat.S_IMODE((tmp_path / "root/implied").stat().st_mode) == 0o755


@needs_root
async def test_owners_and_privileged_bits_are_kept_by_root(tmp_path: Path) -> None:
    capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    attributes = {"SCHILY.xattr.security.capability": capability.decode("latin-1")}
    await unpack(
        tmp_path / "root",
        layer(
            file("su", b"x", mode=0o4755, uid=12, gid=34),
            file("ping", b"x", mode=0o755, uid=56, pax_headers=attributes),
            special("null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3),
            folder("own", uid=78, gid=90),
            file("far", uid=3_000_000_000),
        ),
    )
    su, own = (tmp_path / "root/su").stat(), (tmp_path / "root/own").stat()
    assert (su.st_uid, su.st_gid, stat.S_IMODE(su.st_mode)) == (12, 34, 0o4755)
    assert (own.st_uid, own.st_gid) == (78, 90)
    assert (tmp_path / "root/far").stat().st_uid == 3_000_000_000
    assert os.getxattr(tmp_path / "root/ping", "security.capability") == capability
    null = (tmp_path / "root/null").stat()
    assert stat.S_ISCHR(null.st_mode)
    assert (os.major(null.st_rdev), os.minor(null.st_rdev)) == (1, 3)
    assert stat.S_IMODE(null.st_mode) == 0o666


async def test_without_ownership_files_are_ours_and_lend_no_rights(tmp_path: Path) -> None:
    skipped = await unpack(
        tmp_path / "root",
        layer(
            file("su", b"x", mode=0o6755, uid=12, gid=34),
            special("null", tarfile.CHRTYPE, devmajor=1, devminor=3),
            link("null2", "null"),
            file("ping", pax_headers={"SCHILY.xattr.security.capability": "x"}),
        ),
        layer(link("null3", "null2")),
        ownership=False,
    )
    su = (tmp_path / "root/su").stat()
    assert (su.st_uid, stat.S_IMODE(su.st_mode)) == (os.geteuid(), 0o755)
    assert set(tree(tmp_path / "root")) == {"su", "ping"}
    assert [(one.layer, one.name) for one in skipped] == [
        ("layer 1", "'null'"),
        ("layer 1", "'null2'"),
        ("layer 1", "'ping'"),
        ("layer 2", "'null3'"),
    ]


async def test_attributes_that_steer_overlays_are_left_out(tmp_path: Path) -> None:
    told = {"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.mine": "yes"}
    (skipped,) = await unpack(tmp_path / "root", layer(file("a", pax_headers=told)))
    assert "overlay" in skipped.reason
    assert os.listxattr(tmp_path / "root/a") == ["user.mine"]


SPARSE = b"ab" + bytes(9000) + b"cd" + bytes(100)


@pytest.mark.parametrize(
    "content",
    [
        pax(
            ("GNU.sparse.size", str(len(SPARSE)).encode()),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.offset", b"0"),
            ("GNU.sparse.numbytes", b"2"),
            ("GNU.sparse.offset", b"9002"),
            ("GNU.sparse.numbytes", b"2"),
        )
        + raw_header(b"sparse", size=b"4")
        + padded(b"abcd"),
        pax(
            ("GNU.sparse.size", str(len(SPARSE)).encode()),
            ("GNU.sparse.map", b"0,2,9002,2"),
            ("GNU.sparse.name", b"sparse"),
        )
        + raw_header(b"GNUSparseFile.0/x", size=b"4")
        + padded(b"abcd"),
        pax(
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"sparse"),
            ("GNU.sparse.realsize", str(len(SPARSE)).encode()),
        )
        + raw_header(b"GNUSparseFile.0/x", size=b"%o" % 516)
        + padded(b"2\n0\n2\n9002\n2\n")
        + padded(b"abcd"),
    ],
    ids=["0.0", "0.1", "1.0"],
)
async def test_sparse_files_have_their_holes(tmp_path: Path, content: bytes) -> None:
    await unpack(tmp_path / "root", content + layer(file("after", b"x")))
    assert (tmp_path / "root/sparse").read_bytes() == SPARSE
    assert (tmp_path / "root/after").read_bytes() == b"x"


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
async def test_long_names_and_targets_are_whole(tmp_path: Path, format: int) -> None:
    long = "d" * 120 + "/" + "f" * 120
    content = layer(file(long, b"x"), symlink("s", long), link("l", long), format=format)
    await unpack(tmp_path / "root", content)
    assert (tmp_path / "root" / long).read_bytes() == b"x"
    assert str((tmp_path / "root/s").readlink()) == long
    assert (tmp_path / "root/l").stat().st_nlink == 2


async def test_global_headers_count_until_they_are_taken_back(tmp_path: Path) -> None:
    told = pax(("mtime", b"1000.25"), flag=b"g")
    content = told + raw_header(b"a") + pax(("mtime", b"")) + raw_header(b"b")
    await unpack(tmp_path / "root", content)
    assert (tmp_path / "root/a").stat().st_mtime == 1000.25
    assert (tmp_path / "root/b").stat().st_mtime == 0


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (UnpackLimits(entries=2), "more than 2"),
        (UnpackLimits(total_bytes=100), "more than 100 bytes"),
    ],
)
async def test_limits_hold_over_all_layers(tmp_path: Path, limits: UnpackLimits, told: str) -> None:
    layers = [layer(file("a", b"x" * 60)), layer(file("b", b"x" * 30)), layer(file("a", b"x" * 60))]
    with pytest.raises(ContentInvalid, match=rf"layer 3, entry 'a', .*{told}"):
        await unpack(tmp_path / "root", *layers, limits=limits)
    assert names(tmp_path) == []


async def test_holes_count_as_bytes(tmp_path: Path) -> None:
    content = pax(("GNU.sparse.size", b"9" * 18), ("GNU.sparse.map", b"")) + raw_header(b"a")
    with pytest.raises(ContentInvalid, match="entry 'a'"):
        await unpack(tmp_path / "root", content)
