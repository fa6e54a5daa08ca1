"""What HTTP/1.1 and HTTP/2 must agree on about a response, whatever its frames look like."""

import errno
from collections.abc import Callable
from typing import Final

from entrepot.ports.delivery import File, Follow
from entrepot.web.chunks import open_file
from entrepot.web.message import Request, Response

NO_CONTENT: Final = frozenset({204, 304})
"""Statuses without a body and without Content-Length (RFC 9110, 8.6)."""


def sends_body(request: Request, response: Response) -> bool:
    """Whether a body follows the head."""
    return request.method != "HEAD" and response.status not in NO_CONTENT


def may_repeat(request: Request) -> bool:
    """Whether the application may be asked a second time, with nothing to tell the difference."""
    return request.method in ("GET", "HEAD") and request.body.length == 0


def open_body(
    request: Request, response: Response, refuse: Callable[[int, str], Response], *, last: bool
) -> tuple[Response | None, int]:
    """Open the file that a response is to send; return the response and the descriptor.

    The descriptor is -1 where no file is sent. What cannot be opened becomes a refusal: nothing
    has been sent yet. Unless this is the last attempt, a file that has just been removed is None
    instead: asked again, the application knows better.
    """
    body = response.body
    if not isinstance(body, File | Follow) or not sends_body(request, response):
        return response, -1
    try:
        return response, open_file(body.path) if isinstance(body, File) else body.spool.open()
    except FileNotFoundError:
        if not last:
            return None, -1
        refusal = refuse(404, "the content has just been deleted")
    except OSError as error:
        busy = error.errno in (errno.EMFILE, errno.ENFILE)
        why = "too many files are open" if busy else "its disk does not answer"
        refusal = refuse(503, f"the content cannot be read now: {why}; try again")
    refusal.headers.append(("X-Request-Id", request.id))
    return refusal, -1
