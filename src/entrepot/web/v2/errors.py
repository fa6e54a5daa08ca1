"""Errors as the distribution-spec shows them: a status, and a JSON body with code, message and
detail (distribution-spec, "Error Codes")."""

import json
import math
import re
from http import HTTPStatus
from typing import Final

from entrepot.oci import errors
from entrepot.ports.delivery import Inline
from entrepot.protocol.ranges import render_unsatisfied_range
from entrepot.web.message import BodyIncomplete, BodyMalformed, Header, Response

STATUS: Final[dict[type[errors.RegistryError], int]] = {
    errors.RegistryError: 500,
    errors.BlobUnknown: 404,
    errors.BlobUploadInvalid: 400,
    errors.UploadOutOfOrder: 416,
    errors.UploadBusy: 409,
    errors.BlobUploadUnknown: 404,
    errors.DigestInvalid: 400,
    errors.ManifestBlobUnknown: 404,
    errors.ManifestInvalid: 400,
    errors.ManifestTooLarge: 413,
    errors.ManifestUnknown: 404,
    errors.NameInvalid: 400,
    errors.NameUnknown: 404,
    errors.TagInvalid: 400,
    errors.TooManyTags: 414,
    errors.SizeInvalid: 400,
    errors.RangeInvalid: 416,
    errors.PaginationNumberInvalid: 400,
    errors.Unauthorized: 401,
    errors.Denied: 403,
    errors.Unsupported: 405,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
    errors.StoreFull: 507,
    errors.ConnectionLost: 502,
    errors.HostUnknown: 502,
    errors.CertificateRefused: 502,
    errors.ContentInvalid: 400,
}

_LONGEST_WAIT: Final = 86400.0
"""Seconds of an upstream's `Retry-After` above which nothing is passed on: nobody waits so long."""

_LONGEST_REASON: Final = 300

_UNSHOWN: Final = re.compile(r"[^\x20-\x7e]")
"""What a reason phrase had better not hold."""

_CODES: Final = {
    400: "BAD_REQUEST",
    404: "NOT_FOUND",
    405: "UNSUPPORTED",
    408: "TIMEOUT",
    416: "RANGE_INVALID",
    429: "TOOMANYREQUESTS",
    501: "UNSUPPORTED",
    503: "UNAVAILABLE",
}


def render(
    error: errors.RegistryError, headers: list[Header] | None = None, *, status: int | None = None
) -> Response:
    """Return the response that tells a client of an error, with the `status` that it has by
    itself unless told otherwise."""
    status = STATUS[type(error)] if status is None else status
    response = _response(status, error.code, error.message, error.detail)
    response.headers += headers or []
    if isinstance(error, errors.RangeInvalid):
        response.headers.append(("Content-Range", render_unsatisfied_range(error.size)))
    elif isinstance(error, errors.UploadBusy | errors.Unavailable | errors.TooManyRequests):
        response.headers += _retry_after(error)
    elif isinstance(error, errors.Unauthorized) and error.challenge:
        response.headers.append(("WWW-Authenticate", error.challenge))
    return response


def refuse(status: int, message: str) -> Response:
    """Return the response to what never reached a service: malformed, unknown or failed."""
    return _response(status, _CODES.get(status, "UNKNOWN"), message, {})


def incomplete(error: BodyIncomplete) -> Response:
    """Return the response for a client that broke off its body: it may still be reading."""
    status = 400 if isinstance(error, BodyMalformed) else 408
    response = refuse(status, f"the request body ended early: {error}; send it again")
    response.close = True
    return response


def _retry_after(error: errors.RegistryError) -> list[Header]:
    """Return when to come again: as an upstream has said, else soon, but for who came too often."""
    told = error.detail.get("retry_after")
    if isinstance(told, int | float) and 0 <= told <= _LONGEST_WAIT:
        return [("Retry-After", str(max(1, math.ceil(told))))]
    return [] if isinstance(error, errors.TooManyRequests) else [("Retry-After", "1")]


def _response(status: int, code: str, message: str, detail: dict[str, object]) -> Response:
    body = {"errors": [{"code": code, "message": message, "detail": detail}]}
    return Response(
        status,
        [("Content-Type", "application/json")],
        Inline(json.dumps(body, ensure_ascii=True, default=str).encode()),
        reason=_reason(status, message) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "",
    )


def _reason(status: int, message: str) -> str:
    """Return an error as a reason phrase: podman, Docker and containerd read no body of a 5xx, and
    show its status line."""
    shown = _UNSHOWN.sub("?", message)
    if len(shown) > _LONGEST_REASON:
        shown = f"{shown[:_LONGEST_REASON]}..."
    return f"{HTTPStatus(status).phrase}: {shown}"
