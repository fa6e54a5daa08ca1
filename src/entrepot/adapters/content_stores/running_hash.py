"""The hash of an upload between its appends.

Several processes share a store, and an upload's requests may reach any of them; the state of
a hash cannot be handed over. So each process keeps the hashes it has begun, and catches up on
what others have written in the meantime. See also `checkpoint.py`.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from typing import Final

from entrepot.oci.digest import Digest, Hasher

_BLOCK: Final = 1 << 20
"""How much is read at a time when catching up, in bytes."""


class RunningHash:
    """A hash of the first `offset` bytes of a file."""

    __slots__ = ("_hasher", "offset")

    def __init__(self, algorithm: str) -> None:
        """Start at offset 0. Raise DigestInvalid for an unsupported algorithm."""
        self._hasher = Hasher(algorithm)
        self.offset = 0

    @property
    def algorithm(self) -> str:
        return self._hasher.algorithm

    def update(self, blocks: Iterable[bytes]) -> None:
        """Hash the bytes that follow."""
        for block in blocks:
            self._hasher.update(block)
            self.offset += len(block)

    def catch_up(self, descriptor: int, end: int) -> None:
        """Hash the file from `offset` to `end` (bytes), with constant memory."""
        if self.offset == end:
            return
        block = memoryview(bytearray(min(_BLOCK, end - self.offset)))
        while self.offset < end:
            length = os.preadv(descriptor, [block[: end - self.offset]], self.offset)
            if length == 0:
                raise OSError(f"the file ends at {self.offset}, before {end}")
            self._hasher.update(block[:length])
            self.offset += length

    def digest(self) -> Digest:
        """Return the digest of the first `offset` bytes."""
        return self._hasher.digest()


class RunningHashes:
    """The hashes this process keeps, by data file: the `limit` used last, from any thread.

    `take` hands a hash over and forgets it, so that a failed request leaves no wrong one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = Lock()
        self._hashes: OrderedDict[str, RunningHash] = OrderedDict()

    def take(self, path: str) -> RunningHash | None:
        """Return the file's hash, which is then the caller's alone."""
        with self._lock:
            return self._hashes.pop(path, None)

    def keep(self, path: str, running: RunningHash) -> None:
        """Keep a hash until the file's next request."""
        with self._lock:
            self._hashes[path] = running
            if len(self._hashes) > self._limit:
                self._hashes.popitem(last=False)
