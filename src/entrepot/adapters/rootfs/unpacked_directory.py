"""The directory that an image is unpacked to: filled beside its place, moved there in the end."""

import asyncio
import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from entrepot.adapters.rootfs.layer_extraction import LayerExtraction
from entrepot.adapters.rootfs.root_directory import RootDirectory
from entrepot.oci.errors import StoreFull, Unavailable, Unsupported
from entrepot.ports.root_file_system import Skipped, UnpackLimits

Result = TypeVar("Result")

_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class UnpackedDirectory:
    """See `ports.root_file_system.RootFileSystem`. Build one with `open`.

    The staging place is a hidden folder beside the directory, or in it where it is a mount point.
    A process that is killed leaves it behind; the next one that unpacks here removes it.
    """

    def __init__(
        self, directory: Path, stage: Path, lock: int, ownership: bool, limits: UnpackLimits
    ) -> None:
        self._directory = directory
        self._stage = stage
        self._lock = lock
        self._root = stage / "root"
        self._root.mkdir(0o700)
        self._extraction = LayerExtraction(
            os.open(self._root, _OPEN_FOLDER), ownership=ownership, limits=limits
        )
        self._closed = False

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        ownership: bool | None = None,
        limits: UnpackLimits | None = None,
        replace: bool = False,
    ) -> "UnpackedDirectory":
        """Prepare to fill `directory`, which is new or empty, or is replaced with `replace`.

        `ownership` None keeps owners if this process is root. Raise Unsupported if the directory
        is in use, StoreFull, Unavailable.
        """
        keeps = os.geteuid() == 0 if ownership is None else ownership
        return await asyncio.to_thread(_opened, directory, keeps, limits or UnpackLimits(), replace)

    @property
    def scratch(self) -> Path:
        """See the port."""
        return self._stage

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """See the port."""
        return tuple(self._extraction.skipped)

    @property
    def entries(self) -> int:
        """See the port."""
        return self._extraction.entries

    @property
    def total_bytes(self) -> int:
        """See the port."""
        return self._extraction.total_bytes

    async def apply(self, content: Iterable[bytes], where: str) -> None:
        """See the port."""
        await _to_the_end(lambda: self._extraction.apply(content, where))

    async def commit(self) -> None:
        """See the port."""
        await _to_the_end(self._commit)

    async def close(self) -> None:
        """See the port."""
        if not self._closed:
            self._closed = True
            await _to_the_end(self._remove)

    def _commit(self) -> None:
        with _disk_errors(self._directory):
            self._extraction.finish()
            self._move()
            fd = os.open(self._directory, _OPEN_FOLDER)
            try:
                self._extraction.finish_root(fd)
            finally:
                os.close(fd)

    def _move(self) -> None:
        if self._stage.parent == self._directory:  # a mount point: it cannot be replaced itself
            _empty(self._directory, keep=self._stage.name)
            for name in os.listdir(self._root):
                (self._root / name).rename(self._directory / name)
            return
        if self._directory.exists():
            self._directory.rename(self._stage / "replaced")
        self._root.rename(self._directory)

    def _remove(self) -> None:
        self._extraction.close()
        with suppress(OSError):
            _remove_tree(self._stage)
        os.close(self._lock)


def _opened(
    directory: Path, ownership: bool, limits: UnpackLimits, replace: bool
) -> UnpackedDirectory:
    with _disk_errors(directory):
        directory = directory.resolve()
        _check_free(directory, replace)
        mounted = directory.is_mount()
        place = directory if mounted else directory.parent
        place.mkdir(parents=True, exist_ok=True)
        prefix = f".{directory.name}.unpacking-"
        _remove_abandoned(place, prefix)
        stage = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        stage.chmod(0o700)  # without a set-group-id bit that it may have inherited
        lock = os.open(stage, _OPEN_FOLDER)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return UnpackedDirectory(directory, stage, lock, ownership, limits)


def _check_free(directory: Path, replace: bool) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise Unsupported(f"{directory} is no directory; name one that is new or empty")
    prefix = f".{directory.name}.unpacking-"
    if not replace and any(not one.name.startswith(prefix) for one in directory.iterdir()):
        raise Unsupported(
            f"{directory} is not empty, and nothing in it was changed; name a new directory, or "
            "have it replaced"
        )


def _remove_abandoned(place: Path, prefix: str) -> None:
    """Remove what killed processes have left: nobody holds the lock on it."""
    for stage in place.glob(f"{prefix.replace('[', '[[]')}*"):
        with suppress(OSError):
            fd = os.open(stage, _OPEN_FOLDER | os.O_NOFOLLOW)
            try:
                if os.fstat(fd).st_uid == os.geteuid():
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove_tree(stage)
            finally:
                os.close(fd)


def _empty(directory: Path, keep: str) -> None:
    for one in directory.iterdir():
        if one.name != keep:
            _remove_tree(one)


def _remove_tree(path: Path) -> None:
    parent = os.open(path.parent, _OPEN_FOLDER)
    root = RootDirectory(
        parent, made=lambda _: None, removed=lambda _: None, may_replace=lambda _: False
    )
    folder = root.folder((), create=False)
    assert folder is not None, "it is the root"
    root.remove(folder, os.fsencode(path.name))


async def _to_the_end(work: Callable[[], Result]) -> Result:
    """Do `work` in a thread; who is cancelled meanwhile still waits for it, as what it writes
    must not be removed under its hands."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


@contextmanager
def _disk_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"the disk of {directory} is full; free space, then retry") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise Unavailable(
                f"{directory} cannot be written ({reason}); choose a directory that is yours"
            ) from error
        raise Unavailable(
            f"{directory} cannot be made ({reason}); look at the path and its disk"
        ) from error
