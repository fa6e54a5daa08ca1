"""What a disk refuses is no registry's refusal, for which one could log in."""

import errno
import os

import pytest

from entrepot.adapters.ends.disk_errors import disk_errors
from entrepot.adapters.rootfs.file_attributes import with_owner
from entrepot.oci.errors import StoreFull, Unavailable


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [
        (errno.EACCES, Unavailable, "choose another place"),
        (errno.EROFS, Unavailable, "choose another place"),
        (errno.EIO, Unavailable, "look at its disk"),
        (errno.EPIPE, Unavailable, "has stopped reading"),
        (errno.ENOSPC, StoreFull, "free space"),
        (errno.EFBIG, StoreFull, "free space"),
    ],
)
def test_it_says_where_and_what_to_do(number: int, kind: type[Unavailable], hint: str) -> None:
    with pytest.raises(Unavailable, match=f"there/x.*{hint}") as caught, disk_errors("there/x"):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is kind


def test_owners_that_may_not_be_given_are_told() -> None:
    def change() -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with pytest.raises(Unavailable, match="run as root"):
        with_owner(change)
