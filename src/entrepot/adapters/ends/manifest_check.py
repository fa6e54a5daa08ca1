"""What every End checks of a manifest before it stores one."""

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid, ManifestInvalid
from entrepot.oci.manifest import parse_manifest


def check_manifest(descriptor: Descriptor, content: bytes) -> None:
    """Raise DigestInvalid unless the bytes are what the descriptor says."""
    actual = Digest.of(content, descriptor.digest.algorithm)
    if actual != descriptor.digest or len(content) != descriptor.size:
        raise DigestInvalid(
            f"the manifest is {actual} with {len(content)} bytes, not {descriptor.digest} with "
            f"{descriptor.size}; it was changed on the way: get it anew",
            detail={"digest": str(descriptor.digest), "actual": str(actual)},
        )


def has_subject(descriptor: Descriptor, content: bytes) -> bool:
    """Say whether a manifest refers to another one."""
    if b'"subject"' not in content:
        return False
    try:
        return parse_manifest(content, descriptor.media_type).subject is not None
    except ManifestInvalid:
        return False
