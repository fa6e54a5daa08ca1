"""What an earlier attempt has left of an archive: which entries of its hidden file may be used.

Only blobs are, and only after they have been hashed: nobody knows how the attempt ended.
"""

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from entrepot.adapters.ends.block_reading import BLOCK, Region, hash_from
from entrepot.adapters.ends.tar_reading import BLOCK_SIZE, TarEntry, read_entries
from entrepot.adapters.ends.thread_work import StopWork
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import ContentInvalid

_BLOB: Final = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]{64,128})", re.ASCII)
_HASH_STEP: Final = 16 * BLOCK


@dataclass(frozen=True, slots=True)
class UnfinishedEntry:
    """An entry that broke off: its header begins at `begin`, its content at `start`; `have` of
    its `size` bytes are there."""

    name: str
    begin: int
    start: int
    size: int
    have: int


@dataclass(slots=True)
class KeptEntries:
    """Where the whole entries are (from the header to the next one's), in their order; where
    they end; and the one that broke off behind them."""

    whole: dict[str, tuple[int, int]] = field(default_factory=dict)
    end: int = 0
    unfinished: UnfinishedEntry | None = None


def read_kept(descriptor: int, where: str, stop: threading.Event) -> KeptEntries:
    """Find and verify the blobs in an unfinished archive, up to the first that is not as its
    name says."""
    kept = KeptEntries()
    for entry, present in _entries(descriptor, where):
        if _BLOB.fullmatch(entry.name) is None or entry.link is not None:
            break
        if present < entry.size:
            kept.unfinished = UnfinishedEntry(
                entry.name, kept.end, entry.start, entry.size, present
            )
            break
        if not _is_what_it_says(Region(descriptor, entry.start, entry.size, where), entry, stop):
            break
        begin, kept.end = kept.end, entry.start + entry.size + -entry.size % BLOCK_SIZE
        kept.whole[entry.name] = begin, kept.end
    return kept


def _entries(descriptor: int, where: str) -> Iterator[tuple[TarEntry, int]]:
    """Yield entries and how many bytes of them are there, as far as there are any."""
    size = os.fstat(descriptor).st_size
    try:
        for entry in read_entries(descriptor, where, cut_off=True):
            yield entry, max(min(entry.size, size - entry.start), 0)
    except ContentInvalid:
        return


def _is_what_it_says(region: Region, entry: TarEntry, stop: threading.Event) -> bool:
    _, algorithm, encoded = entry.name.split("/")
    hasher, at = Hasher(algorithm), 0
    while at < region.size:
        if stop.is_set():
            raise StopWork
        at = hash_from(region, at, hasher, _HASH_STEP)
    return hasher.digest() == Digest(algorithm, encoded)
