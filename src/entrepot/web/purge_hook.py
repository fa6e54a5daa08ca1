"""`POST /_/purge`: registries tell of what was pushed to them or deleted there, and the cache
forgets it. Off unless `proxy.purge_hook` is set."""

from dataclasses import dataclass
from typing import Final

from entrepot.oci.errors import SizeInvalid, Unsupported
from entrepot.protocol.change_notices import read_notices
from entrepot.services.proxy import Proxy
from entrepot.services.purging import forget_changes
from entrepot.web.bodies import read_body
from entrepot.web.documents import respond_with_document
from entrepot.web.message import Request, Response
from entrepot.web.v2 import errors
from entrepot.web.v2.guard import Guard

PATH: Final = "/_/purge"
MAX_BODY: Final = 1 << 20
"""Largest notification in bytes."""


@dataclass(frozen=True, slots=True)
class PurgeHook:
    """Answers notifications. `guard` asks for the login, where there is one."""

    proxy: Proxy
    guard: Guard

    async def answer(self, request: Request) -> Response:
        """Return the answer to a request at `PATH`: what was forgotten.

        Raise Unauthorized, ContentInvalid, SizeInvalid, NameUnknown, BodyIncomplete.
        """
        if request.method != "POST":
            refusal = Unsupported("notifications of registries are taken here; send them by POST")
            return errors.render(refusal, [("Allow", "POST")])
        self.guard.check_page(request)
        notices = read_notices(await read_body(request, MAX_BODY, _too_large))
        upstream = dict(request.parameters()).get("upstream", "")
        done = await forget_changes(self.proxy, notices, upstream)
        document = {
            "forgotten": [
                {
                    "repository": one.repository,
                    "reference": str(one.reference),
                    "names": one.names,
                }
                for one in done
            ]
        }
        return respond_with_document(document)


def _too_large(limit: int) -> SizeInvalid:
    return SizeInvalid(f"the notification is above {limit} bytes; send fewer events at once")
