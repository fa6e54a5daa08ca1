"""Documents to take apart: a valid descriptor, manifest and index, changed field by field."""

import json

from entrepot.oci import media_types
from entrepot.oci.digest import Digest

CONFIG = b'{"architecture":"amd64","os":"linux"}'
LAYERS = (b"the first layer", b"the second layer")


def descriptor(content: bytes, media_type: str, **changed: object) -> dict[str, object]:
    """Return the JSON of a descriptor of `content`, with fields set or (None) left out."""
    return _changed(
        {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}, changed
    )


def manifest(**changed: object) -> dict[str, object]:
    """Return the JSON of an OCI image manifest, with fields set or (None) left out."""
    return _changed(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": descriptor(CONFIG, media_types.OCI_CONFIG),
            "layers": [descriptor(layer, media_types.OCI_LAYER_GZIP) for layer in LAYERS],
        },
        changed,
    )


def index(**changed: object) -> dict[str, object]:
    """Return the JSON of an OCI image index of two manifests."""
    return _changed(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [
                descriptor(b"amd64", media_types.OCI_MANIFEST),
                descriptor(b"arm64", media_types.OCI_MANIFEST),
            ],
        },
        changed,
    )


def encode(document: object) -> bytes:
    """Return the document as the bytes a client would push."""
    return json.dumps(document, indent=2).encode()


def _changed(document: dict[str, object], changed: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in {**document, **changed}.items() if value is not None}
