"""`/_/upstreams`: how every upstream's endpoints are, and how they have been."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from entrepot.services.upstream import Upstream
from entrepot.web.documents import respond_with_document
from entrepot.web.message import Response

PATH: Final = "/_/upstreams"


def upstream_health(upstreams: Mapping[str, Upstream]) -> Response:
    """Return each open upstream by name: whether it can be asked, its endpoints as this worker
    knows them (times in seconds), the latest changes of their health, oldest first, and the budget
    it has told."""
    return respond_with_document(
        {name: _shown(upstream) for name, upstream in sorted(upstreams.items())}
    )


def _shown(upstream: Upstream) -> dict[str, object]:
    limit = upstream.rate_limit
    return {
        "healthy": upstream.healthy,
        "endpoints": [asdict(endpoint) for endpoint in upstream.endpoints()],
        "history": [asdict(change) for change in upstream.history()],
        "rate_limit": None if limit is None else asdict(limit),
    }
