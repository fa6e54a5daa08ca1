"""What HTTP/1.1 and HTTP/2 must agree on about a response, whatever its frames look like."""

import errno
from collections.abc import Callable
from typing import Final

from entrepot.ports.delivery import File
from entrepot.web.chunks import open_file
from entrepot.web.message import Request, Response

NO_CONTENT: Final = frozenset({204, 304})
"""Statuses without a body and without Content-Length (RFC 9110, 8.6)."""


def sends_body(request: Request, response: Response) -> bool:
    """Whether a body follows the head."""
    return request.method != "HEAD" and response.status not in NO_CONTENT


def open_body(
    request: Request, response: Response, refuse: Callable[[int, str], Response]
) -> tuple[Response, int]:
    """Open the file that a response is to send; return the response and the descriptor.

    The descriptor is -1 where no file is sent. What cannot be opened becomes a refusal: nothing
    has been sent yet.
    """
    if not isinstance(response.body, File) or not sends_body(request, response):
        return response, -1
    try:
        return response, open_file(response.body.path)
    except FileNotFoundError:
        refusal = refuse(404, "the content has just been deleted")
    except OSError as error:
        busy = error.errno in (errno.EMFILE, errno.ENFILE)
        why = "too many files are open" if busy else "its disk does not answer"
        refusal = refuse(503, f"the content cannot be read now: {why}; try again")
    refusal.headers.append(("X-Request-Id", request.id))
    return refusal, -1
