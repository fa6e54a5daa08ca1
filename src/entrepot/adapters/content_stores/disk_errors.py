"""What the operating system refuses, in the registry's words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from entrepot.oci.errors import StoreFull, Unavailable

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No space, no quota, or no larger file allowed (a limit of the file system or process)."""


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn an OSError into StoreFull where space ran out, else into Unavailable."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in _FULL:
            raise StoreFull(
                f"the content store is full ({reason}); free space, then send the request again"
            ) from error
        raise Unavailable(
            f"the content store cannot be used ({reason}); its disk needs an operator"
        ) from error
