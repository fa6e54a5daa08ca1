"""Referrers: the list of manifests with a subject, its filter, and the tag that older
clients keep the same list under.

Source: distribution-spec, "Listing Referrers", "Referrers Tag Schema".
"""

import json
import re
from collections.abc import Iterable
from typing import Final

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestInvalid
from entrepot.oci.reference import Tag

_FALLBACK_TAG: Final = re.compile(r"(sha256)-([0-9a-f]{64})", re.ASCII)


def parse_artifact_type(parameters: Iterable[tuple[str, str]]) -> str | None:
    """Read the `artifactType` filter from decoded query parameters; None if there is none.

    A space is taken for a `+` that a client forgot to encode: media types have no spaces.
    Raise ManifestInvalid if it cannot be a media type.
    """
    text = next((value for key, value in parameters if key == "artifactType" and value), None)
    if text is None:
        return None
    artifact_type = text.replace(" ", "+")
    if not media_types.is_acceptable(artifact_type):
        shown = text[:255]
        raise ManifestInvalid(
            f"artifactType {shown!r} is not a media type; use one such as "
            "application/vnd.example.sbom.v1",
            detail={"artifactType": shown},
        )
    return artifact_type


def render_referrers(referrers: Iterable[Descriptor]) -> bytes:
    """Return the image index that lists the referrers, as JSON.

    Each shows media type, digest, size, artifact type and annotations, where it has them.
    """
    index = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_INDEX,
        "manifests": [referrer.to_json() for referrer in referrers],
    }
    return json.dumps(index, separators=(",", ":")).encode("ascii")


def fallback_tag(subject: Digest) -> Tag:
    """Return the tag that clients without the referrers API keep the list of `subject` under.

    The encoded part is cut to 64 characters, so a sha512 tag names no single digest.
    """
    return Tag(f"{subject.algorithm[:32]}-{subject.hex[:64]}")


def fallback_subject(tag: str) -> Digest | None:
    """Return the digest whose fallback tag this is; None if it is none or was cut."""
    match = _FALLBACK_TAG.fullmatch(tag)
    return None if match is None else Digest(match[1], match[2])
