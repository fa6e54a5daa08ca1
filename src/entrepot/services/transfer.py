"""Transfer: the one verb that copies an image graph from one End to another.

What is here is the order of things; walking and copying stand in `graph_copy`, choosing among
platforms in `platform_selection`, other formats in `conversion`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from entrepot.oci.digest import Digest
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import ImageSource, ImageTarget
from entrepot.services.progress import Report, Transferred

__all__ = ["TransferOptions", "Transferred", "transfer"]


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """What is copied of an image, and how.

    `jobs` blobs are copied at a time. `platforms` None means everything; one platform makes the
    image for it the root, several (or one with `keep_index`) an index of just these. `referrers`
    copies what names the image or its parts as subject, of any type or of `artifact_types` only.
    `format` converts. `foreign_layers` copies also layers that are not to be distributed, if the
    source holds them; their URLs are never followed.
    """

    jobs: int = 4
    platforms: tuple[Platform, ...] | None = None
    referrers: bool = False
    artifact_types: tuple[str, ...] = ()
    format: Literal["docker", "oci"] | None = None
    keep_index: bool = False
    foreign_layers: bool = False


async def transfer(
    source: ImageSource,
    reference: Tag | Digest | None,
    target: ImageTarget,
    tags: Sequence[Tag],
    options: TransferOptions,
    report: Report,
) -> Transferred:
    """Copy an image and all it consists of; the tags come last."""
    raise NotImplementedError
