"""JSON documents that tell how this server is now, or what was just done: nobody keeps them."""

import json
from collections.abc import Mapping

from entrepot.ports.delivery import Inline
from entrepot.web.message import Response


def respond_with_document(document: Mapping[str, object], *, status: int = 200) -> Response:
    """Return a document as JSON, which caches on the way do not store (RFC 9111, 5.2.2.5)."""
    return Response(
        status,
        [("Content-Type", "application/json"), ("Cache-Control", "no-store")],
        Inline(json.dumps(document).encode()),
    )
