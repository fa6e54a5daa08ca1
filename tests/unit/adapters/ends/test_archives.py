"""OCI archives: compressed ones, pipes, what is kept of an unfinished one, the same bytes again."""

import asyncio
import bz2
import fcntl
import gzip
import lzma
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from entrepot.adapters.ends.archive_source import open_archive_source
from entrepot.adapters.ends.docker_archive import DockerArchiveSource
from entrepot.adapters.ends.docker_archive_target import DockerArchiveTarget
from entrepot.adapters.ends.oci_archive import OciArchiveSource, OciArchiveTarget
from entrepot.adapters.ends.tar_reading import TarFiles
from entrepot.oci.errors import ConnectionLost, ContentInvalid, NameUnknown, Unavailable
from entrepot.oci.reference import Tag
from entrepot.testing import example_images as examples
from entrepot.testing.image_end_contents import MIB, blob, contents, expected, fill

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

IMAGE = examples.image(layers=[os.urandom(3 * MIB), b"small"], compressed=False)
LAYER, SMALL = IMAGE.layers
LITTLE = examples.image("little")
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip in two members": lambda content: (
        gzip.compress(content[:999]) + gzip.compress(content[999:])
    ),
    "zstd": zstd.compress,
    "zstd in two frames": lambda content: (
        zstd.compress(content[:999]) + zstd.compress(content[999:])
    ),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@asynccontextmanager
async def written(path: Path) -> AsyncIterator[OciArchiveTarget]:
    target = OciArchiveTarget(str(path))
    try:
        yield target
    finally:
        await target.close()


async def write(path: Path, example: examples.ExampleImage = IMAGE) -> bytes:
    """Write an archive; return its bytes."""
    async with written(path) as target:
        await fill(target, example, "1.0")
        await target.commit()
    return await asyncio.to_thread(path.read_bytes)


async def read(path: str, example: examples.ExampleImage = IMAGE) -> None:
    """Read the archive, and compare it with what was written."""
    source = await OciArchiveSource.open(path)
    try:
        assert await contents(source, await source.resolve(Tag("1.0"))) == expected(example)
    finally:
        await source.close()


async def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    assert await write(tmp_path / "one.tar") == await write(tmp_path / "other.tar")


async def test_an_archive_has_nothing_beside_it(tmp_path: Path) -> None:
    await write(tmp_path / "image.tar")
    assert os.listdir(tmp_path) == ["image.tar"]


@pytest.mark.parametrize("packer", PACKERS)
async def test_a_compressed_archive_is_read(tmp_path: Path, packer: str) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(PACKERS[packer](await write(path, LITTLE)))
    await read(str(path), LITTLE)


@pytest.mark.parametrize("packer", PACKERS)
async def test_a_compressed_archive_that_is_cut_off_is_refused(tmp_path: Path, packer: str) -> None:
    path = tmp_path / "image.tar"
    packed = PACKERS[packer](await write(path, LITTLE))
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ContentInvalid, match=str(path)):
        await OciArchiveSource.open(str(path))


async def test_what_is_no_archive_is_not_held_open(tmp_path: Path) -> None:
    path = tmp_path / "no.tar"
    path.write_bytes(b"no tar" * 1000)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ContentInvalid):
        await OciArchiveSource.open(str(path))
    assert len(os.listdir("/proc/self/fd")) == len(before)


async def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(NameUnknown, match=r"nowhere\.tar"):
        await OciArchiveSource.open(str(tmp_path / "nowhere.tar"))


@contextmanager
def replaced(number: int, descriptor: int) -> Iterator[None]:
    """Have a standard stream be something else."""
    kept = os.dup(number)
    os.dup2(descriptor, number)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)


@pytest.mark.parametrize("packer", ["gzip", "zstd", None])
async def test_an_archive_is_read_from_standard_input(tmp_path: Path, packer: str | None) -> None:
    plain = await write(tmp_path / "image.tar")
    content = PACKERS[packer](plain) if packer else plain
    reader, writer = os.pipe()

    def feed() -> None:
        with open(writer, "wb") as pipe:
            pipe.write(content)

    feeding = threading.Thread(target=feed)
    feeding.start()
    with replaced(0, reader):
        os.close(reader)
        await read("-")
    feeding.join()


async def test_waiting_for_standard_input_can_be_cancelled() -> None:
    reader, writer = os.pipe()
    with replaced(0, reader):
        waiting = asyncio.ensure_future(OciArchiveSource.open("-"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    os.close(reader)
    os.close(writer)


class Reader:
    """Who reads a pipe to its end."""

    def __init__(self) -> None:
        self.content = b""
        source, self.pipe = os.pipe()
        self._thread = threading.Thread(target=self._read, args=(source,))
        self._thread.start()

    def close(self) -> bytes:
        """Close the writer's end; return what came."""
        os.close(self.pipe)
        self._thread.join()
        return self.content

    def _read(self, source: int) -> None:
        with open(source, "rb") as pipe:
            self.content = pipe.read()


async def test_an_archive_goes_to_standard_output_as_to_a_file(tmp_path: Path) -> None:
    reader = Reader()
    with replaced(1, reader.pipe):
        await write_to("-")
    assert reader.close() == await write(tmp_path / "image.tar")


async def write_to(path: str) -> None:
    target = OciArchiveTarget(path)
    await fill(target, IMAGE, "1.0")
    await target.commit()
    await target.close()


async def test_what_breaks_off_in_a_pipe_is_the_end_of_it(tmp_path: Path) -> None:
    reader = Reader()
    with replaced(1, reader.pipe):
        target = OciArchiveTarget("-")
    with pytest.raises(ConnectionLost):
        await target.put_blob(blob(IMAGE.blobs[LAYER], LAYER, breaks_at=2 * MIB))
    for attempt in (target.put_blob(blob(IMAGE.blobs[LAYER], LAYER)), target.commit()):
        with pytest.raises(Unavailable, match="standard output ends in the middle"):
            await attempt
    await target.close()
    (tmp_path / "broken.tar").write_bytes(reader.close())
    with pytest.raises(ContentInvalid, match="cut off"):
        await OciArchiveSource.open(str(tmp_path / "broken.tar"))


async def test_a_reader_that_goes_is_told_of(tmp_path: Path) -> None:
    source, pipe = os.pipe()
    with replaced(1, pipe):
        target = OciArchiveTarget("-")
    os.close(source)
    os.close(pipe)
    with pytest.raises(Unavailable, match="stopped reading"):
        await target.put_blob(blob(IMAGE.blobs[LAYER], LAYER))
    await target.close()


class TestUnfinished:
    """An archive that was not committed, and what the next one makes of it."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "image.tar"

    @pytest.fixture
    def hidden(self, tmp_path: Path) -> Path:
        return tmp_path / ".image.tar.partial"

    @pytest.fixture
    async def unfinished(self, path: Path, hidden: Path) -> None:
        """One with the small layer whole and the large one up to 2 MiB."""
        async with written(path) as target:
            await target.put_blob(blob(IMAGE.blobs[SMALL], SMALL))
            with pytest.raises(ConnectionLost):
                await target.put_blob(blob(IMAGE.blobs[LAYER], LAYER, breaks_at=2 * MIB))
        assert os.listdir(path.parent) == [hidden.name]

    @pytest.mark.usefixtures("unfinished")
    async def test_what_is_whole_is_there_and_the_rest_goes_on(self, path: Path) -> None:
        content = blob(IMAGE.blobs[LAYER], LAYER)
        async with written(path) as target:
            assert await target.has_blob(SMALL)
            assert not await target.has_blob(LAYER)
            await target.put_blob(content)
            await fill(target, IMAGE, "1.0")
            await target.commit()
        assert content.offsets == [2 * MIB]
        assert os.listdir(path.parent) == [path.name]
        await read(str(path))

    @pytest.mark.usefixtures("unfinished")
    async def test_what_is_not_needed_is_left_out(self, path: Path) -> None:
        other = examples.image("other", layers=[b"other"])
        assert await write(path, other) == await write(path.with_name("fresh.tar"), other)

    @pytest.mark.usefixtures("unfinished")
    async def test_what_is_needed_moves_to_the_front(self, path: Path) -> None:
        example = examples.image(layers=[IMAGE.blobs[LAYER]], compressed=False)
        async with written(path) as target:
            await target.put_blob(blob(IMAGE.blobs[LAYER], LAYER))
        # Neither the small layer nor the first image's manifest is asked for this time.
        await write(path, example)
        source = await OciArchiveSource.open(str(path))
        assert await contents(source, await source.resolve()) == expected(example)
        await source.close()
        names = TarFiles(os.open(path, os.O_RDONLY), "")
        assert len(names.entries) == len(example.blobs) + 3
        names.close()

    @pytest.mark.usefixtures("unfinished")
    @pytest.mark.parametrize("at", [0, 100, 700, 2000, 1 * MIB])
    async def test_what_was_damaged_is_begun_anew(self, path: Path, hidden: Path, at: int) -> None:
        with hidden.open("r+b") as file:
            file.seek(at)
            file.write(b"damaged")
        await write(path)
        await read(str(path))

    @pytest.mark.usefixtures("unfinished")
    @pytest.mark.parametrize("size", [0, 1, 512, 515, 600, 1024, 1500, MIB])
    async def test_it_may_end_anywhere(self, path: Path, hidden: Path, size: int) -> None:
        os.truncate(hidden, size)
        await write(path)
        await read(str(path))

    async def test_one_at_a_time_writes_it(self, path: Path) -> None:
        async with written(path):
            with pytest.raises(Unavailable, match="another process is writing"):
                OciArchiveTarget(str(path))
        await write(path)

    async def test_who_was_named_meanwhile_is_left_alone(
        self, path: Path, hidden: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its writer commits between our opening and our locking of the hidden file."""
        await write(path)
        os.link(path, hidden)
        lock = fcntl.flock

        def late(descriptor: int, how: int) -> None:
            if hidden.exists() and hidden.samefile(path):
                hidden.unlink()
            lock(descriptor, how)

        monkeypatch.setattr(fcntl, "flock", late)
        async with written(path) as target:
            await target.put_blob(blob(b"another"))
        await read(str(path))

    async def test_a_killed_commit_does_no_harm(self, path: Path, hidden: Path) -> None:
        await write(path)
        os.rename(path, hidden)
        await write(path)
        await read(str(path))

    async def test_nothing_begun_leaves_nothing(self, path: Path) -> None:
        async with written(path):
            pass
        assert os.listdir(path.parent) == []


async def test_the_kind_of_an_archive_is_seen_by_its_content(tmp_path: Path) -> None:
    await write(tmp_path / "oci.tar")
    target = DockerArchiveTarget(str(tmp_path / "docker.tar"), "example/app")
    await fill(target, IMAGE, "1.0")
    await target.commit()
    await target.close()
    for name, docker, kind in (
        ("oci.tar", False, OciArchiveSource),
        ("oci.tar", True, OciArchiveSource),
        ("docker.tar", False, OciArchiveSource),
        ("docker.tar", True, DockerArchiveSource),
    ):
        source = await open_archive_source(str(tmp_path / name), docker=docker)
        assert type(source) is kind
        assert (await source.resolve()).digest == IMAGE.root.digest
        await source.close()
