"""Owners, modes, extended attributes and times, given to what is open already."""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from entrepot.oci.errors import Unavailable
from entrepot.oci.tar_member import Member

_SET_ID: Final = stat.S_ISUID | stat.S_ISGID
_PRIVATE_TO_OVERLAYS: Final = ("trusted.overlay.", "user.overlay.")
"""They would change what an overlay mount over this directory shows, beyond it too."""

_NOT_HERE: Final = frozenset(
    {errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL, errno.ERANGE, errno.E2BIG}
    | {errno.ENOSPC, errno.ENODATA}
)


@dataclass(frozen=True, slots=True)
class Attributes:
    """How attributes are set.

    With `ownership` everything is kept, owners and privileged attributes too. Without it files
    are ours, and set-user-id and set-group-id bits are dropped: they would lend our rights.
    """

    ownership: bool
    told: Callable[[str], None]
    """What is told the reason why an attribute could not be set."""

    def set(self, fd: int, member: Member) -> None:
        """Set all attributes of an open file or directory. Raise Unavailable, OSError."""
        if self.ownership:
            self.own(fd, member)
            os.fchmod(fd, member.mode)
        else:
            os.fchmod(fd, member.mode & ~_SET_ID)
        if member.xattrs:  # after chown(2), which clears capabilities
            for name, value in member.xattrs.items():
                self._set_xattr(fd, name, value)
        os.utime(fd, ns=(member.mtime, member.mtime))

    def set_link(self, parent: int, name: bytes, member: Member) -> None:
        """Set owner and time of a symlink; it has no mode."""
        if self.ownership:
            with_owner(
                lambda: os.chown(name, *_owner(member), dir_fd=parent, follow_symlinks=False)
            )
        if member.xattrs:
            self.told("the extended attributes of a symlink are left out")
        os.utime(name, ns=(member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)

    def set_special(self, parent: int, name: bytes, member: Member) -> None:
        """Set the attributes of a device or FIFO, which is not to be opened for real."""
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if self.ownership:
                with_owner(
                    lambda: os.chown(name, *_owner(member), dir_fd=parent, follow_symlinks=False)
                )
            mode = member.mode if self.ownership else member.mode & ~_SET_ID
            os.chmod(f"/proc/self/fd/{fd}", mode)
        finally:
            os.close(fd)
        os.utime(name, ns=(member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)

    def own(self, fd: int, member: Member) -> None:
        """Give an open file its owner. Raise Unavailable."""
        with_owner(lambda: os.fchown(fd, *_owner(member)))

    def _set_xattr(self, fd: int, name: str, value: bytes) -> None:
        if name.startswith(_PRIVATE_TO_OVERLAYS):
            self.told(f"the attribute {name[:80]!r} is left out: it would steer overlay mounts")
            return
        if not self.ownership and not name.startswith("user."):
            self.told(f"the attribute {name[:80]!r} is left out: only root may set it")
            return
        try:
            os.setxattr(fd, os.fsencode(name), value)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno not in _NOT_HERE:
                raise
            reason = getattr(error, "strerror", None) or "its name is none"
            self.told(f"the attribute {name[:80]!r} could not be set: {reason}")


def with_owner(change: Callable[[], None]) -> None:
    """Change an owner. Raise Unavailable where this process, or its user namespace, may not."""
    try:
        change()
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise
        raise Unavailable(
            "files cannot be given the owners that the image names, as this process may not; "
            "run as root, or unpack without keeping owners"
        ) from error


def _owner(member: Member) -> tuple[int, int]:
    return member.uid, member.gid
