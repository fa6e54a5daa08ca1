"""Manifests from a source, read with suspicion: nothing is believed that the bytes do not say."""

from typing import Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid, ManifestInvalid, ManifestTooLarge, SizeInvalid
from entrepot.oci.manifest import Index, Manifest, parse_manifest
from entrepot.ports.image_end import ImageSource

MAX_SIZE: Final = 4 << 20
"""The largest manifest, in bytes, that is copied: what every registry must take."""

MAX_DEPTH: Final = 8
"""How deep indexes may list indexes."""

MAX_MANIFESTS: Final = 10_000
"""How many manifests one transfer copies at most, with all referrers."""


async def read_manifest(source: ImageSource, descriptor: Descriptor) -> Manifest | Index:
    """Return a manifest that is what its descriptor says: size, digest and media type.

    Raise ManifestUnknown, ManifestTooLarge, SizeInvalid, DigestInvalid, or ManifestInvalid.
    """
    if descriptor.size > MAX_SIZE:
        raise ManifestTooLarge(
            f"manifest {descriptor.digest} has {descriptor.size} bytes, and most registries take "
            f"{MAX_SIZE} at most; split the index, or shorten its annotations",
            detail={"digest": str(descriptor.digest), "size": descriptor.size},
        )
    content = descriptor.data
    if content is None:
        content = await source.manifest(descriptor)
    if len(content) != descriptor.size:
        raise SizeInvalid(
            f"manifest {descriptor.digest} has {len(content)} bytes, and what refers to it says "
            f"{descriptor.size}; the image was made wrongly, build it anew",
            detail={"expected": descriptor.size, "received": len(content)},
        )
    found = Digest.of(content, descriptor.digest.algorithm)
    if found != descriptor.digest:
        raise DigestInvalid(
            f"the bytes of manifest {descriptor.digest} have the digest {found}; the source is "
            "damaged or changed them on the way",
            detail={"expected": str(descriptor.digest), "received": str(found)},
        )
    try:
        return parse_manifest(content, descriptor.media_type)
    except ManifestInvalid as error:
        raise type(error)(
            f"manifest {descriptor.digest} cannot be copied: {error.message}",
            detail={"digest": str(descriptor.digest), **error.detail},
        ) from None


def too_deep() -> ManifestInvalid:
    """Return the refusal of an image whose indexes are nested without end."""
    return ManifestInvalid(
        f"the image's indexes are nested more than {MAX_DEPTH} levels deep; copy an inner one by "
        "its digest",
        detail={"levels": MAX_DEPTH},
    )


def too_many() -> ManifestInvalid:
    """Return the refusal of an image that consists of more manifests than anyone makes."""
    return ManifestInvalid(
        f"the image has more than {MAX_MANIFESTS} manifests and referrers; copy it in parts, by "
        "platform or without referrers",
        detail={"manifests": MAX_MANIFESTS},
    )
