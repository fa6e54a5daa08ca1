"""Upload requests: the single steps of pushing a blob, each one request to the registry, and what
its answer says of the upload. In which order they are made is the matter of `uploads`.

Source: distribution-spec, "Pushing blobs".
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from entrepot.adapters.remotes.endpoint import PUSH, Answer, Endpoint
from entrepot.adapters.remotes.exchange import Body
from entrepot.adapters.remotes.manifests import parse_digest
from entrepot.adapters.remotes.redirects import same_origin, target
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUploadInvalid,
    BlobUploadUnknown,
    ConnectionLost,
    DigestInvalid,
    RangeInvalid,
    RegistryError,
    TooManyRequests,
    Unavailable,
    UploadBusy,
)
from entrepot.oci.reference import RepositoryName
from entrepot.protocol.challenges import Scope
from entrepot.protocol.routes import start_upload_path

_OCTETS: Final = {"Content-Type": "application/octet-stream"}
_RANGE: Final = re.compile(r"\s*(?:bytes[ =])?0-([0-9]{1,19})(?:/.*)?\s*", re.ASCII | re.IGNORECASE)
_ENDED: Final = frozenset({404, 405, 410, 501})
_UNTOLD: Final = _ENDED | {400, 401, 403, 416}


class UploadLost(Exception):
    """The registry knows the upload no longer, or cannot continue it."""


class BodyTooLarge(Exception):
    """The registry, or a proxy before it, takes no request body of this size."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An open upload: the URL of its next request, how many bytes the registry has, and the
    fewest that a chunk must have (the last one excepted). It is `at_home` as long as the
    registry has sent it to no other origin."""

    location: str
    offset: int = 0
    chunk_minimum: int = 0
    at_home: bool = True


def parse_offset(field: str | None) -> int | None:
    """Return the offset that an upload's Range header tells; None if it tells none.

    `0-0` is one byte by its grammar, and what registries say of an empty upload: it counts as
    empty.
    """
    match = _RANGE.fullmatch(field or "")
    if match is None:
        return None
    return int(match[1]) + 1 if int(match[1]) > 0 else 0


def with_digest(location: str, digest: Digest) -> str:
    """Return an upload's location with the digest added to its query, which is kept as it is:
    registries sign theirs."""
    parts = urlsplit(location)
    before = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{before}digest={quote(str(digest), safe='')}"))


async def start(endpoint: Endpoint, digest: Digest) -> Upload:
    """Open an upload (end-4a)."""
    answer = await endpoint.ask(
        "POST",
        _start_url(endpoint, digest, ""),
        PUSH,
        headers=_OCTETS,
        body=b"",
        repeat=True,  # an upload opened twice is only forgotten once
    )
    return _opened(endpoint, answer)


async def mount(
    endpoint: Endpoint, digest: Digest, source: RepositoryName
) -> tuple[bool, Upload | None]:
    """Link a blob of another repository (end-11): say whether that was done, and return the
    upload that a registry opens instead."""
    query = f"mount={quote(str(digest), safe='')}&from={quote(source, safe='/')}"
    try:
        answer = await endpoint.ask(
            "POST",
            _start_url(endpoint, digest, query),
            PUSH,
            headers=_OCTETS,
            body=b"",
            beside=(Scope.repository(source, "pull"),),
        )
    except (ConnectionLost, TooManyRequests):
        raise
    except RegistryError:  # whatever is wrong with mounting, sending the bytes may still work
        return False, None
    if answer.status == 202:
        with suppress(Unavailable):
            return False, _opened(endpoint, answer)
    told = parse_digest(answer.headers.get("docker-content-digest"))
    same = told is None or told.algorithm != digest.algorithm or told == digest
    return answer.status == 201 and same, None


async def ask(endpoint: Endpoint, upload: Upload) -> Upload:
    """Ask how far an upload is (end-13). Raise UploadLost, or UploadBusy."""
    answer = await endpoint.ask("GET", upload.location, PUSH, expect={*_UNTOLD, 409})
    if answer.status == 409:
        raise _busy()
    offset = parse_offset(answer.headers.get("range"))
    if not answer.successful or offset is None:
        raise UploadLost(_told(answer))
    return _moved(upload, answer, offset)


async def append(endpoint: Endpoint, upload: Upload, body: Body, *, ranged: bool) -> Upload:
    """Send the bytes behind `upload.offset` (end-5); return the upload as it is then, which may
    be less far than was sent.

    Raise UploadLost, UploadBusy or BodyTooLarge.
    """
    end = upload.offset + body.length
    headers = dict(_OCTETS)
    if ranged:
        headers["Content-Range"] = f"{upload.offset}-{end - 1}"
    answer = await _change(endpoint, "PATCH", upload.location, headers, body)
    # Success, and no word of how much, or of nothing: that is all of it.
    offset = parse_offset(answer.headers.get("range")) or end
    if not upload.offset < offset <= end:
        raise UploadLost(f"it says that it has {offset} bytes, behind {upload.offset} to {end}")
    return _moved(upload, answer, offset)


async def close(
    endpoint: Endpoint, upload: Upload, digest: Digest, body: bytes | Body = b""
) -> None:
    """Finish an upload, with all its bytes or none (end-6). Raise UploadLost, UploadBusy,
    BodyTooLarge, or DigestInvalid if they are not the blob."""
    answer = await _change(endpoint, "PUT", with_digest(upload.location, digest), _OCTETS, body)
    told = parse_digest(answer.headers.get("docker-content-digest"))
    if told is not None and told.algorithm == digest.algorithm and told != digest:
        raise DigestInvalid(
            f"{endpoint} stored {told} when {digest} was pushed; it cannot be trusted with it"
        )


async def cancel(endpoint: Endpoint, upload: Upload) -> None:
    """Drop an upload (end-14), if the registry will; it does so by itself some day."""
    with suppress(RegistryError):
        await endpoint.ask("DELETE", upload.location, PUSH, expect={*_UNTOLD, 409}, repeat=False)


def _start_url(endpoint: Endpoint, digest: Digest, query: str) -> str:
    parameters = [query] if query else []
    if digest.algorithm != "sha256":
        parameters.append(f"digest-algorithm={digest.algorithm}")
    path = start_upload_path(endpoint.name)
    return f"{path}?{'&'.join(parameters)}" if parameters else path


def _opened(endpoint: Endpoint, answer: Answer) -> Upload:
    location = answer.headers.get("location")
    if not location:
        raise Unavailable(
            f"{endpoint.host} opened an upload without saying where (status {answer.status}, no "
            "Location); check that no proxy drops its headers"
        )
    minimum = answer.headers.get("oci-chunk-min-length", "")
    plain = minimum.isascii() and minimum.isdigit() and len(minimum) < 19
    url = target(answer.url, location)
    chunk_minimum = int(minimum) if plain else 0
    return Upload(url, 0, chunk_minimum, same_origin(url, answer.url))


async def _change(
    endpoint: Endpoint, method: str, url: str, headers: Mapping[str, str], body: bytes | Body
) -> Answer:
    """Send a request that only an open upload takes, and return its success."""
    try:
        answer = await endpoint.ask(
            method,
            url,
            PUSH,
            headers=headers,
            body=body,
            expect={*_ENDED, 409, 413, 416},
            repeat=False,
        )
    except (BlobUploadInvalid, BlobUploadUnknown, RangeInvalid) as error:
        raise UploadLost(error.message) from error
    if answer.status == 413:
        raise BodyTooLarge
    if answer.status == 409:
        raise _busy()
    if not answer.successful:
        raise UploadLost(_told(answer))
    return answer


def _moved(upload: Upload, answer: Answer, offset: int) -> Upload:
    """Return the upload as an answer tells of it."""
    location = answer.headers.get("location")
    url = target(answer.url, location) if location else upload.location
    at_home = upload.at_home and (not location or same_origin(url, answer.url))
    return Upload(url, offset, upload.chunk_minimum, at_home)


def _told(answer: Answer) -> str:
    codes = ", ".join(sorted(answer.codes))
    return f"it answered {answer.status}{' ' if codes else ''}{codes}"


def _busy() -> UploadBusy:
    return UploadBusy(
        "the registry is still busy with an earlier request of this upload; try again in a moment"
    )
