"""Digests: `algorithm:encoded`, the identity of every piece of content.

Source: image-spec, descriptor.md, "Digests".
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from entrepot.oci.errors import DigestInvalid

HEX_LENGTH: Final = {"sha256": 64, "sha512": 128}
"""Registered algorithms and the length of their lower-case hexadecimal form."""

_GRAMMAR: Final = re.compile(
    r"(?P<algorithm>sha256|sha512):(?P<hex>[0-9a-f]{64}(?:[0-9a-f]{64})?)", re.ASCII
)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A verified-by-shape digest; build one with `Digest.parse` or `Digest.of`."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read `sha256:<64 hex>` or `sha512:<128 hex>`. Raise DigestInvalid for all else."""
        match = _GRAMMAR.fullmatch(text)
        if match is None or len(match["hex"]) != HEX_LENGTH[match["algorithm"]]:
            shown = text if len(text) <= 160 else text[:160] + "…"
            raise DigestInvalid(
                f"{shown!r} is not a digest this registry supports; "
                "use sha256:<64 lower-case hex> or sha512:<128 lower-case hex>",
                detail={"digest": shown},
            )
        return cls(match["algorithm"], match["hex"])

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> "Digest":
        """Hash `content`. Raise DigestInvalid for an unsupported algorithm."""
        hasher = Hasher(algorithm)
        hasher.update(content)
        return hasher.digest()

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


class Hasher:
    """An incremental hash that can be asked for the digest so far at any time.

    `update` releases the GIL for blocks above 2 KiB, so threads hash in parallel.
    """

    __slots__ = ("_hash", "algorithm")

    def __init__(self, algorithm: str = "sha256") -> None:
        """Start hashing. Raise DigestInvalid for an unsupported algorithm."""
        if algorithm not in HEX_LENGTH:
            raise DigestInvalid(
                f"digest algorithm {algorithm[:40]!r} is not supported; use sha256 or sha512",
                detail={"algorithm": algorithm[:40]},
            )
        self.algorithm = algorithm
        self._hash = hashlib.new(algorithm, usedforsecurity=True)

    def update(self, block: bytes | bytearray | memoryview) -> None:
        """Add a block of bytes."""
        self._hash.update(block)

    def copy(self) -> "Hasher":
        """Return a hash of the same bytes that goes its own way from here."""
        twin = Hasher.__new__(Hasher)
        twin.algorithm, twin._hash = self.algorithm, self._hash.copy()
        return twin

    def digest(self) -> Digest:
        """Return the digest of everything added so far; more may follow."""
        return Digest(self.algorithm, self._hash.hexdigest())
