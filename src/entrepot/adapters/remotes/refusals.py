"""Refusals: a registry's error answers in our words.

Registries speak several dialects: the distribution-spec's `errors`, one bare object, GitHub's
`message`, OAuth2's `error_description`, plain text, a proxy's HTML page. A status that is plain
(401, 403, 429, 5xx) decides by itself; otherwise the code does, then the status, then what was
asked. Every message says who answered what to what, and what to do next.
"""

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from entrepot.adapters.remotes.exchange import Request
from entrepot.adapters.remotes.exchange_log import shown_text
from entrepot.adapters.remotes.exchanges import Settled
from entrepot.oci import errors
from entrepot.oci.errors import RegistryError
from entrepot.protocol import routes
from entrepot.protocol.rate_limits import parse_rate_limit

_MAX_TEXT: Final = 300
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{1,63}", re.ASCII)
_TITLE: Final = re.compile(r"<title[^>]*>([^<]*)<", re.IGNORECASE)
_UNSEEN: Final = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")
_RANGE: Final = re.compile(r"(?:bytes=)?0-([0-9]{1,19})", re.ASCII)
_COMPLETE: Final = re.compile(r"bytes \*/([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Told:
    """What an error body says: a code of the spec's kind, and a text for people."""

    code: str = ""
    message: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code, self.message) if part)


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks what: the registry as people call it and its URL, the request as it was meant,
    whether a login went along, and what is known about why it may be refused."""

    host: str
    base: str
    request: Request
    with_login: bool = False
    notes: tuple[str, ...] = ()


def told(body: bytes) -> Told:
    """Read an error body of any dialect; nothing that controls a terminal is left in it."""
    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return Told(message=_readable(_without_tags(text) if "<" in text else text))
    if isinstance(document, dict):
        listed = document.get("errors")
        first = listed[0] if isinstance(listed, list) and listed else listed or document
        if isinstance(first, dict):
            return _of_object(first)
        if isinstance(first, str):
            return Told(message=_readable(first))
    return Told(message=_readable(document) if isinstance(document, str) else "")


def refusal(asking: Asking, answer: Settled, asked_pause: float | None = None) -> RegistryError:
    """Return the error that an answer is; `asked_pause` is its Retry-After in seconds."""
    said = told(answer.body)
    kind = _kind(asking, answer, said)
    last = "" if _advises(kind, said) else _hint(kind, asking, answer, asked_pause)
    hint = "".join(f"; {one}" for one in (*asking.notes, last) if one)
    place = urlsplit(answer.url).netloc.rpartition("@")[2]
    told_by = asking.host if _is_registry(asking, answer) else f"{place} (for {asking.host})"
    path = urlsplit(asking.request.url).path
    words = f" ({said})" if str(said) else ""
    message = f"{told_by} answers {answer.status}{words} to {asking.request.method} {path}{hint}"
    detail = {"registry": asking.host, "status": answer.status, "code": said.code}
    if asked_pause is not None:
        detail["retry_after"] = asked_pause
    return _made(kind, message, detail, answer)


def _of_object(document: dict[str, object]) -> Told:
    code, message = document.get("code"), document.get("message")
    if not isinstance(message, str) or not message:
        others = (document.get(name) for name in ("error_description", "detail", "error"))
        message = next((text for text in others if isinstance(text, str)), "")
    code = code.upper() if isinstance(code, str) else ""
    return Told(code if _CODE.fullmatch(code) else "", _readable(message))


def _without_tags(text: str) -> str:
    title = _TITLE.search(text)
    return html.unescape(title[1] if title else _TAG.sub(" ", _UNSEEN.sub(" ", text)))


def _readable(text: str) -> str:
    # Scrubbed last: an odd character must not hide where a secret begins.
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _MAX_TEXT]).split())
    line = shown_text(line)
    return line if len(line) <= _MAX_TEXT else line[:_MAX_TEXT] + "…"


_BY_CODE: Final[Mapping[str, type[RegistryError]]] = {
    kind.code: kind
    for kind in (
        errors.BlobUnknown, errors.BlobUploadInvalid, errors.BlobUploadUnknown,
        errors.DigestInvalid, errors.ManifestBlobUnknown, errors.ManifestInvalid,
        errors.ManifestUnknown, errors.NameInvalid, errors.NameUnknown, errors.TagInvalid,
        errors.SizeInvalid, errors.RangeInvalid, errors.PaginationNumberInvalid,
        errors.Unauthorized, errors.Denied, errors.Unsupported, errors.TooManyRequests,
        errors.Unavailable,
    )
} | {
    "MANIFEST_UNVERIFIED": errors.ManifestInvalid,
    "TAG_UNKNOWN": errors.ManifestUnknown,
    "REPOSITORY_UNKNOWN": errors.NameUnknown,
    "PROJECT_NOT_FOUND": errors.NameUnknown,  # Harbor's
    "QUOTA_EXCEEDED": errors.StoreFull,
    "TAG_IMMUTABLE": errors.Denied,
}  # fmt: skip

_BY_STATUS: Final[dict[int, type[RegistryError]]] = {
    401: errors.Unauthorized,
    402: errors.Denied,
    403: errors.Denied,
    405: errors.Unsupported,
    407: errors.Unauthorized,
    408: errors.Unavailable,
    409: errors.Denied,
    412: errors.Denied,
    413: errors.SizeInvalid,
    415: errors.Unsupported,
    429: errors.TooManyRequests,
    451: errors.Denied,
    501: errors.Unsupported,
    507: errors.StoreFull,
}

_NOT_THERE: Final[dict[type[object], type[RegistryError]]] = {
    routes.Blob: errors.BlobUnknown,
    routes.Manifest: errors.ManifestUnknown,
    routes.Upload: errors.BlobUploadUnknown,
    routes.Catalog: errors.Unsupported,
    routes.Base: errors.Unavailable,
}

_MALFORMED: Final[dict[type[object], type[RegistryError]]] = {
    routes.Manifest: errors.ManifestInvalid,
    routes.Upload: errors.BlobUploadInvalid,
    routes.StartUpload: errors.BlobUploadInvalid,
    routes.Catalog: errors.Unsupported,
}


def _kind(asking: Asking, answer: Settled, said: Told) -> type[RegistryError]:
    status, by_code = answer.status, _BY_CODE.get(said.code)
    if by_code is errors.Denied and status == 401 and asking.with_login:
        return errors.Denied  # the login is right and may not do this
    if status == 507 or by_code is errors.StoreFull:
        return errors.StoreFull
    if status in (401, 403, 407, 429, 501):
        return _BY_STATUS[status]
    if status >= 500:
        return errors.Unavailable
    if by_code is not None:
        return by_code
    route = _route(asking)
    if status in (404, 410):
        return _NOT_THERE.get(type(route), errors.NameUnknown)
    if status == 416:
        return errors.BlobUploadInvalid if isinstance(route, routes.Upload) else errors.RangeInvalid
    if status == 413 and isinstance(route, routes.Manifest):
        return errors.ManifestTooLarge
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return _MALFORMED.get(type(route), RegistryError)


def _made(
    kind: type[RegistryError], message: str, detail: dict[str, object], answer: Settled
) -> RegistryError:
    """Build the error; two of the tree want a number, which headers tell."""
    if issubclass(kind, errors.RangeInvalid):
        size = _COMPLETE.fullmatch(answer.headers.get("content-range", ""))
        return errors.RangeInvalid(message, size=int(size[1]) if size else 0)
    if kind is errors.BlobUploadInvalid and answer.status == 416:
        there = _RANGE.fullmatch(answer.headers.get("range", ""))
        if there is not None:
            return errors.UploadOutOfOrder(message, offset=int(there[1]) + 1)
    return kind(message, detail=detail)


def _advises(kind: type[RegistryError], said: Told) -> bool:
    """Say whether a registry that will not do something tells the way out, as this one does:
    `quay.io is not mirrored here; to allow it, …`. A guess of ours would contradict it."""
    return kind in (errors.Denied, errors.Unsupported) and "; " in said.message


def _hint(
    kind: type[RegistryError], asking: Asking, answer: Settled, asked_pause: float | None
) -> str:
    hint = _HINTS.get(kind)
    if answer.status == 407:
        return "the egress proxy wants a login; put it into the proxy's URL"
    if issubclass(kind, errors.TooManyRequests):
        return _pause_hint(asking, answer, asked_pause)
    if kind is errors.Unavailable and asked_pause is not None:
        return f"it asks to come back in {asked_pause:.0f} s"
    if not _is_registry(asking, answer) and kind in (errors.Unauthorized, errors.Denied):
        return "the registry sent us there, and its permission is not accepted; try again"
    return hint(asking) if hint else "look up the request in the registry's log"


def _login_hint(asking: Asking) -> str:
    if asking.with_login:
        return f"the login is not accepted; log in again: entrepot login {asking.host}"
    return f"log in: entrepot login {asking.host}"


def _denied_hint(asking: Asking) -> str:
    if asking.with_login:
        return (
            "the login may not do that; ask the owner for the right, or use another: "
            f"entrepot login {asking.host}"
        )
    return f"log in with an account that may: entrepot login {asking.host}"


def _manifest_hint(asking: Asking) -> str:
    route = _route(asking)
    name = f"{asking.host}/{route.name}" if isinstance(route, routes.Manifest) else asking.host
    return f"see what there is: entrepot tags {name}" + _hidden(asking)


def _name_hint(asking: Asking) -> str:
    return "check the repository's name" + _hidden(asking)


def _hidden(asking: Asking) -> str:
    # Many registries hide what one may not see.
    return "" if asking.with_login else f", or log in: entrepot login {asking.host}"


_HINTS: Final[dict[type[RegistryError], Callable[[Asking], str]]] = {
    errors.Unauthorized: _login_hint,
    errors.Denied: _denied_hint,
    errors.ManifestUnknown: _manifest_hint,
    errors.NameUnknown: _name_hint,
    errors.BlobUnknown: lambda asking: (
        "the image is not whole there; push it again" + _hidden(asking)
    ),
    errors.BlobUploadUnknown: lambda _: "the upload has ended or expired; start it anew",
    errors.BlobUploadInvalid: lambda _: "start the upload anew",
    errors.ManifestBlobUnknown: lambda _: "push the blobs it refers to first",
    errors.ManifestInvalid: lambda _: "the registry does not take this kind of manifest",
    errors.ManifestTooLarge: lambda _: "the registry takes no manifest of this size",
    errors.SizeInvalid: lambda _: "a limit of the registry, or of a proxy before it, is too low",
    errors.DigestInvalid: lambda _: (
        "the content was changed on its way, or the registry does not "
        "know the digest's algorithm; try again"
    ),
    errors.NameInvalid: lambda _: "the registry does not take this name; use another",
    errors.TagInvalid: lambda _: "the registry does not take this tag; use another",
    errors.Unsupported: lambda _: "the registry cannot do this, or its owner has turned it off",
    errors.Unavailable: lambda asking: f"try again later; is {asking.host} a registry, and well?",
    errors.StoreFull: lambda _: "its owner must make room or raise the quota",
}


def _pause_hint(asking: Asking, answer: Settled, asked_pause: float | None) -> str:
    budget = parse_rate_limit(answer.headers)
    words = ""
    if budget is not None and budget.limit is not None and budget.window is not None:
        words = f"it allows {budget.limit} requests in {budget.window} s; "
    wait = f"wait {asked_pause:.0f} s" if asked_pause is not None else "wait a while"
    login = "" if asking.with_login else f", or log in for more: entrepot login {asking.host}"
    return f"{words}{wait}{login}"


def _is_registry(asking: Asking, answer: Settled) -> bool:
    """Say whether the registry itself answered, and not a place that it redirects to."""
    return urlsplit(answer.url).netloc == urlsplit(asking.base).netloc


def _route(asking: Asking) -> routes.Route | None:
    path = urlsplit(asking.request.url).path.removeprefix(urlsplit(asking.base).path)
    try:
        return routes.parse(path)
    except RegistryError:
        return None
