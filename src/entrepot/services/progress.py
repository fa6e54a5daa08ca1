"""Progress: what a transfer tells while it runs, and what it has done in the end.

Events are facts for whoever shows them (bars, JSON lines, a log); no decision depends on them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Tag


@dataclass(frozen=True, slots=True)
class Transferred:
    """What a transfer has done.

    `root` is what the tags name now. `copied_bytes` were read from the source, `total_bytes` is
    what all blobs that were looked at come to; blobs below an image that the target has already
    are not looked at. `manifests` counts those copied and those that were there. `replaced` maps
    digests of the source to the new ones, where a conversion or a choice of platforms made any.
    """

    root: Descriptor
    tags: tuple[Tag, ...]
    copied_blobs: int
    present_blobs: int
    mounted_blobs: int
    copied_bytes: int
    total_bytes: int
    manifests: int
    replaced: Mapping[Digest, Digest]


@dataclass(frozen=True, slots=True)
class Planned:
    """How many blobs and bytes are known of so far; it grows while manifests are read."""

    blobs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class BlobStarted:
    """A blob is being read from `offset` on, which is above 0 where it is resumed.

    Told once per blob, and not at all of those that need not be read.
    """

    descriptor: Descriptor
    offset: int


@dataclass(frozen=True, slots=True)
class BlobAdvanced:
    """The target has taken that many more bytes of a blob."""

    digest: Digest
    bytes: int


@dataclass(frozen=True, slots=True)
class BlobFinished:
    """A blob is done with: copied, already there, mounted, or left where it is (`skipped`)."""

    descriptor: Descriptor
    how: Literal["copied", "present", "mounted", "skipped"]


@dataclass(frozen=True, slots=True)
class ManifestFinished:
    """A manifest is in the target, with all that it refers to."""

    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class Retried:
    """The target reads a blob again, from `offset` on: what it had beyond that is lost."""

    descriptor: Descriptor
    offset: int


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that the user should know and that stops nothing."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The transfer has ended well."""

    result: Transferred


Event = (
    Planned
    | BlobStarted
    | BlobAdvanced
    | BlobFinished
    | ManifestFinished
    | Retried
    | Warned
    | Finished
)
Report = Callable[[Event], None]
"""What is told of every event, on the event loop; it must not block."""
