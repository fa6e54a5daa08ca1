"""Referrers: the list of manifests with a subject, its filter, and the tag that older
clients keep the same list under.

Source: distribution-spec, "Listing Referrers", "Referrers Tag Schema".
"""

import json
from collections.abc import Iterable

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestInvalid
from entrepot.oci.reference import Tag


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
