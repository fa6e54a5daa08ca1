"""What kind of End a path is, whatever it is called and however it is compressed."""

import bz2
import gzip
import io
import lzma
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from entrepot.adapters.ends.recognition import recognise
from entrepot.oci.address import Kind
from entrepot.oci.errors import ContentInvalid, NameInvalid

if sys.version_info >= (3, 14):
    from compression.zstd import compress as zstd
else:
    from backports.zstd import compress as zstd

OCI = ("oci-layout", "index.json", "blobs/sha256/aa")
DOCKER = ("aa/layer.tar", "manifest.json")

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstd,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def archive(*names: str) -> bytes:
    """Return a tar with these files, each of 100 kB that nothing can compress much."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for number, name in enumerate(names):
            entry = tarfile.TarInfo(name)
            body = b"".join((number * 50_000 + one).to_bytes(8, "big") for one in range(12_500))
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return content.getvalue()


@pytest.mark.parametrize("how", COMPRESS)
@pytest.mark.parametrize(
    ("names", "prefer", "kind"),
    [
        (OCI, "oci-archive", "oci-archive"),
        (tuple(f"./{name}" for name in OCI), "oci-archive", "oci-archive"),
        (DOCKER, "oci-archive", "docker-archive"),
        ((*DOCKER, *OCI), "oci-archive", "oci-archive"),
        ((*DOCKER, *OCI), "docker-archive", "docker-archive"),
        (OCI, "docker-archive", "oci-archive"),
    ],
)
def test_archives_are_known_by_what_is_in_them(
    tmp_path: Path, how: str, names: tuple[str, ...], prefer: Kind, kind: Kind
) -> None:
    file = tmp_path / "image.zip"
    file.write_bytes(COMPRESS[how](archive(*names)))
    found = recognise(str(file), prefer)
    assert (found.kind, found.path) == (kind, str(file))


@pytest.mark.parametrize("how", COMPRESS)
def test_what_is_cut_off_is_said_to_be(tmp_path: Path, how: str) -> None:
    content = COMPRESS[how](archive("blobs/sha256/aa", *OCI))
    file = tmp_path / "image.tar"
    file.write_bytes(content[: len(content) // 5])
    with pytest.raises(ContentInvalid, match=r"cut off; get it anew") as raised:
        recognise(str(file))
    assert "\n" not in raised.value.message


def test_what_holds_no_images_is_said_to(tmp_path: Path) -> None:
    for name, content, told in (
        ("text", b"no tar at all", "no archive of images"),
        ("empty", b"", "no archive of images"),
        ("others", archive("a", "deeper/manifest.json"), "holds neither"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ContentInvalid, match=told):
            recognise(str(tmp_path / name))


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(ContentInvalid, match="no image layout"):
        recognise(str(tmp_path))
    (tmp_path / "index.json").write_text("{}")
    assert recognise(str(tmp_path)).kind == "oci"
    with pytest.raises(NameInvalid, match="there is no file"):
        recognise(str(tmp_path / "nothing"))


def test_a_pipe_is_not_read_twice(tmp_path: Path) -> None:
    """Nobody could look into it and then read it; nor does this wait for somebody to write."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ContentInvalid, match="standard input"):
        recognise(str(tmp_path / "pipe"))
