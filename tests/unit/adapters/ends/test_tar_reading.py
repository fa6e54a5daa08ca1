"""Tars: every way to write a header, and files that are none."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from entrepot.adapters.ends.tar_reading import MAX_EXTENSION, TarFiles
from entrepot.adapters.ends.tar_writing import header
from entrepot.oci.errors import ContentInvalid

LONG = "/".join(["a-folder-with-a-name"] * 9) + "/file"
FORMATS = {
    "ustar": tarfile.USTAR_FORMAT,
    "GNU": tarfile.GNU_FORMAT,
    "pax": tarfile.PAX_FORMAT,
}


@contextmanager
def opened(path: Path, content: bytes) -> Iterator[TarFiles]:
    path = path / "archive.tar"
    path.write_bytes(content)
    files = TarFiles(os.open(path, os.O_RDONLY), str(path))
    yield files
    files.close()


def packed(fill: Callable[[tarfile.TarFile], None], form: int = tarfile.PAX_FORMAT) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form) as tar:
        fill(tar)
    return content.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes = b"") -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def link(tar: tarfile.TarFile, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    tar.addfile(entry)


def read(files: TarFiles, name: str) -> bytes | None:
    region = files.open(name)
    return None if region is None else region.whole(1 << 20)


@pytest.mark.parametrize("form", FORMATS)
def test_files_are_found_in_every_format(tmp_path: Path, form: str) -> None:
    contents = {"index.json": b"{}", "empty": b"", LONG: b"long", "größe": b"x" * 513}
    if form == "ustar":
        del contents["größe"]

    def fill(tar: tarfile.TarFile) -> None:
        tar.addfile(directory())
        for name, content in contents.items():
            add(tar, name, content)

    with opened(tmp_path, packed(fill, FORMATS[form])) as files:
        assert {name: read(files, name) for name in contents} == contents
        assert read(files, "nothing") is None


def directory() -> tarfile.TarInfo:
    entry = tarfile.TarInfo("blobs")
    entry.type = tarfile.DIRTYPE
    return entry


@pytest.mark.parametrize(
    "name", ["./index.json", "/index.json", ".//index.json", "a/../index.json"]
)
def test_names_are_found_as_they_are_meant(tmp_path: Path, name: str) -> None:
    with opened(tmp_path, packed(lambda tar: add(tar, name, b"{}"))) as files:
        assert read(files, "index.json") == b"{}"


def test_the_last_of_several_counts(tmp_path: Path) -> None:
    content = packed(lambda tar: [add(tar, "name", one) for one in (b"old", b"new")])
    with opened(tmp_path, content) as files:
        assert read(files, "name") == b"new"


def test_links_are_followed_inside_the_archive(tmp_path: Path) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        add(tar, "first/layer.tar", b"layer")
        link(tar, "second/layer.tar", "../first/layer.tar")
        link(tar, "third/layer.tar", "second/layer.tar", tarfile.LNKTYPE)
        link(tar, "lost", "../../../../etc/passwd")
        link(tar, "circle", "circle")

    with opened(tmp_path, packed(fill)) as files:
        assert read(files, "second/layer.tar") == b"layer"
        assert read(files, "third/layer.tar") == b"layer"
        assert read(files, "lost") is None
        with pytest.raises(ContentInvalid, match="circle"):
            files.open("circle")


def test_a_size_above_8_gib_is_read(tmp_path: Path) -> None:
    size = 9 << 30
    path = tmp_path / "large.tar"
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        entry = tarfile.TarInfo("large")
        entry.size = size
        start = entry.tobuf(form)
        path.write_bytes(start)
        os.truncate(path, len(start) + size + 512)  # a hole: it takes no space
        with path.open("r+b") as file:
            file.seek(len(start) + size)
            file.write(tarfile.TarInfo("behind").tobuf())
        descriptor = os.open(path, os.O_RDONLY)
        files = TarFiles(descriptor, str(path))
        found = files.find("large")
        assert found is not None
        assert (found.size, files.find("behind") is not None) == (size, True)
        files.close()


def test_what_we_write_is_read(tmp_path: Path) -> None:
    name = f"blobs/sha512/{'a' * 128}"
    content = header(name, 3) + b"abc" + bytes(509) + bytes(1024)
    with opened(tmp_path, content) as files:
        assert read(files, name) == b"abc"


WHOLE = packed(lambda tar: add(tar, "name", b"x" * 1000))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (bytes(1024), "empty"),
        (b"no tar at all", "no tar"),
        (b"x" * 2048, "no tar"),
        (WHOLE[:300], "no tar"),
        (WHOLE[:1000], "cut off"),
        (WHOLE[:1536] + b"x" * 512, "no tar"),
    ],
)
def test_what_is_no_whole_tar_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ContentInvalid, match=message), opened(tmp_path, content):
        pass


def test_an_archive_without_its_end_is_whole(tmp_path: Path) -> None:
    with opened(tmp_path, WHOLE[:1536]) as files:
        assert read(files, "name") == b"x" * 1000


def test_a_huge_extended_header_is_not_read(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("pax")
    entry.type, entry.size = tarfile.XHDTYPE, MAX_EXTENSION + 1
    content = entry.tobuf() + bytes(MAX_EXTENSION + 1024)
    with pytest.raises(ContentInvalid, match="extended header"), opened(tmp_path, content):
        pass


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("sparse")
    entry.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(ContentInvalid, match="sparse"), opened(tmp_path, entry.tobuf()):
        pass
