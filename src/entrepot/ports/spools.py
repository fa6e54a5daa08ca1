"""Spools: content on its way into a cache, written by one and read by many while it grows.

One spool per digest exists over all processes that share a cache. Who writes it holds a lock that
ends with its process; everybody else follows, and the first who finds the writer gone goes on
where it stopped. Bytes in a spool are not verified: the last of them become readable only when
the whole has been, and of a range the last are sent only then (`Follow.available`), so nobody ever
receives wrong content, or a wrong part of it, whole.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from entrepot.oci.digest import Digest
from entrepot.ports.delivery import Spool


class SharedSpool(Spool, Protocol):
    """A spool that this process or another writes.

    When its writer stops, who waits in `available` goes on waiting for some seconds: whoever sees
    first that it has `ended` is expected to `begin` where it stopped.
    """

    async def ended(self) -> bool:
        """Wait until nobody writes it any more; return whether it has become content."""
        ...


class SpoolWriter(Protocol):
    """The one right to write a spool. It ends with `commit`, `release` or `discard`."""

    @property
    def offset(self) -> int:
        """Bytes that are there so far, also those an earlier writer has left."""
        ...

    @property
    def spool(self) -> SharedSpool:
        """What this process's readers follow."""
        ...

    def write(self, piece: memoryview) -> None:
        """Append bytes; called in threads, one call at a time (an `image_end.Sink`).

        Raise SizeInvalid beyond the announced size, StoreFull, Unavailable.
        """
        ...

    async def commit(self) -> int:
        """Verify size and digest, make the bytes content and return their size.

        Raise DigestInvalid or SizeInvalid if they are not what they should be: the spool is then
        gone, and whoever follows it is told that it failed.
        """
        ...

    async def release(self, error: Exception | None = None) -> None:
        """Stop writing, for the next writer to go on. Followers in this process get `error`, or
        wait for the next writer if there is none."""
        ...

    async def discard(self, error: Exception) -> bool:
        """Drop the spool; followers are told `error`. Return False, dropping nothing, if this
        right had ended already."""
        ...


class Spools(Protocol):
    """The spools of one cache."""

    async def begin(self, digest: Digest, size: int) -> SpoolWriter | None:
        """Return the right to write a digest's spool of `size` bytes, keeping what is there of it.

        None while somebody else, perhaps in another process, holds it. Raise StoreFull.
        """
        ...

    async def follow(self, digest: Digest) -> SharedSpool | None:
        """Return the spool that another is writing; None if nobody is (it may just have become
        content)."""
        ...

    def turn(self, key: str) -> AbstractAsyncContextManager[None]:
        """Hold the only turn for `key` over all processes, so that the same question is not asked
        twice at once: who comes second finds the answer in the cache."""
        ...

    async def leftovers(self) -> Sequence[tuple[Digest, int, float]]:
        """Return (digest, bytes, Unix time of the last write) of spools that nobody writes."""
        ...

    async def drop(self, digest: Digest) -> bool:
        """Remove what is left of a spool; return False, removing nothing, if somebody writes it."""
        ...

    async def close(self) -> None:
        """Leave what is being written for the next start; the content store closes after this."""
        ...
