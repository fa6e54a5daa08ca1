"""What the operating system refuses while files are read and written, in the errors' words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from entrepot.oci.errors import StoreFull, Unavailable

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No space, no quota, or no larger file allowed (a limit of the file system or process)."""

_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

KEPT: Final = "what has arrived is kept: free space and run the same command again to continue"
GONE: Final = "free space and run the same command again"


@contextmanager
def disk_errors(path: object, *, full: str = GONE) -> Iterator[None]:
    """Turn an OSError at `path` into StoreFull (saying what to do: `full`) or
    Unavailable.

    Denied it is never: that is a registry's word, for which one logs in."""
    try:
        yield
    except BrokenPipeError as error:
        raise Unavailable(f"whoever reads {path} has stopped reading; start both again") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in _FULL:
            raise StoreFull(f"there is no space left for {path} ({reason}); {full}") from error
        if error.errno in _FORBIDDEN:
            raise Unavailable(
                f"{path} cannot be used ({reason}); choose another place, or change who may "
                "read and write it"
            ) from error
        raise Unavailable(f"{path} cannot be used ({reason}); look at its disk") from error
