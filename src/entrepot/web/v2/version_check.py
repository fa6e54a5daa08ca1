"""`/v2/`: does this server speak the protocol? (end-1)"""

from entrepot.ports.delivery import Inline
from entrepot.protocol.routes import Base
from entrepot.services.registry import Registry
from entrepot.web.message import Request, Response


async def get(registry: Registry, request: Request, route: Base) -> Response:
    """Answer that it does."""
    return Response(200, [("Content-Type", "application/json")], Inline(b"{}"))
