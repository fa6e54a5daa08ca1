"""Blob checks: whether object storage has a blob, before a client is sent there."""

from typing import Protocol


class BlobCheck(Protocol):
    """Asks a URL without fetching it."""

    async def has(self, url: str) -> bool:
        """Say whether anybody may read what stands at a URL now. Raise an error of
        `oci/errors.py` if that cannot be told in time."""
        ...
