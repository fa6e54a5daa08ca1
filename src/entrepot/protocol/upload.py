"""Uploads: the states of one blob upload, and the rules of its chunks.

Where the bytes are and who holds the lock is the content store's matter.
Source: distribution-spec, "Pushing a blob in chunks", "Cancel a blob upload".
"""

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from entrepot.oci.errors import (
    BlobUploadInvalid,
    BlobUploadUnknown,
    SizeInvalid,
    UploadBusy,
    UploadOutOfOrder,
)


class State(Enum):
    """Where an upload stands."""

    OPEN = auto()  # started; a chunk, the closing PUT or a cancel may come
    RECEIVING = auto()  # a request's body is being stored
    COMMITTING = auto()  # the bytes are being verified and made content
    DONE = auto()  # it is a blob now
    GONE = auto()  # cancelled, expired, or dropped because its digest was wrong


class Event(Enum):
    """What can happen to an upload."""

    BODY_STARTED = auto()  # a PATCH, or the body of the closing PUT
    BODY_STORED = auto()
    BODY_LOST = auto()  # the client went away; what arrived stays stored
    CLOSED = auto()  # the closing PUT, after its body if it has one
    VERIFIED = auto()
    MISMATCHED = auto()  # the digest is not that of the bytes
    INTERRUPTED = auto()  # the server failed to commit; the bytes are still there
    CANCELLED = auto()
    EXPIRED = auto()


NEXT: Final = {
    (State.OPEN, Event.BODY_STARTED): State.RECEIVING,
    (State.RECEIVING, Event.BODY_STORED): State.OPEN,
    (State.RECEIVING, Event.BODY_LOST): State.OPEN,  # the client resumes at the offset
    (State.OPEN, Event.CLOSED): State.COMMITTING,
    (State.COMMITTING, Event.VERIFIED): State.DONE,
    (State.COMMITTING, Event.MISMATCHED): State.GONE,  # those bytes are useless
    (State.COMMITTING, Event.INTERRUPTED): State.OPEN,  # the closing PUT may be repeated
    (State.OPEN, Event.CANCELLED): State.GONE,
    (State.OPEN, Event.EXPIRED): State.GONE,
    # Dropping an upload waits for nobody; the request that holds it finds it gone.
    (State.RECEIVING, Event.CANCELLED): State.GONE,
    (State.RECEIVING, Event.EXPIRED): State.GONE,
    (State.COMMITTING, Event.CANCELLED): State.GONE,
    (State.COMMITTING, Event.EXPIRED): State.GONE,
}
"""The whole machine. What is not in the table is refused."""


def after(state: State, event: Event) -> State:
    """Return the state that follows.

    Raise UploadBusy while another request holds the upload, BlobUploadUnknown once it has
    ended, BlobUploadInvalid if the event cannot happen to an open upload.
    """
    following = NEXT.get((state, event))
    if following is not None:
        return following
    if state in (State.RECEIVING, State.COMMITTING):
        raise UploadBusy(
            "another request is writing to this upload; wait for it to end, then GET the "
            "upload for its offset"
        )
    if state in (State.DONE, State.GONE):
        raise BlobUploadUnknown("this upload has ended; start a new one with POST")
    raise BlobUploadInvalid("no request is writing to this upload; send a chunk with PATCH")


_SESSION: Final = re.compile(r"[0-9a-zA-Z_-]{1,64}", re.ASCII)
# Nineteen digits hold any size a file can have, and keep int() cheap.
_CONTENT_RANGE: Final = re.compile(
    r"(?:bytes[ =])?([0-9]{1,19})-([0-9]{1,19})(?:/([0-9]{1,19}|\*))?", re.ASCII
)


def parse_session(text: str) -> str:
    """Check an upload's id. Raise BlobUploadUnknown if no upload can have it."""
    if _SESSION.fullmatch(text) is None:
        shown = text[:80]
        raise BlobUploadUnknown(
            f"there is no upload {shown!r}; use the Location of the last response as it is",
            detail={"upload": shown},
        )
    return text


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """Which bytes of the blob a chunk is: `start` to `end`, both inclusive."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """The chunk's length in bytes, at least 1."""
        return self.end - self.start + 1


def parse_content_range(text: str) -> ChunkRange:
    """Read a chunk's Content-Range: `<start>-<end>`, as the spec has it.

    HTTP's own form, `bytes <start>-<end>/<total or *>`, is understood too. Raise
    BlobUploadInvalid for all else.
    """
    match = _CONTENT_RANGE.fullmatch(text)
    if match is not None:
        start, end = int(match[1]), int(match[2])
        total = int(match[3]) if match[3] not in (None, "*") else end + 1
        if start <= end < total:
            return ChunkRange(start, end)
    shown = text[:80]
    raise BlobUploadInvalid(
        f"Content-Range {shown!r} is not a range of bytes; send <first>-<last>, counted from 0 "
        "and both inclusive",
        detail={"contentRange": shown},
    )


def check_length(chunk: ChunkRange, length: int) -> None:
    """Raise SizeInvalid unless a body of `length` bytes, announced or received, fills it."""
    if length != chunk.length:
        raise SizeInvalid(
            f"Content-Range {chunk.start}-{chunk.end} is {chunk.length} bytes, but the body has "
            f"{length}; send one that fits the other",
            detail={"range": chunk.length, "length": length},
        )


def check_order(start: int | None, offset: int) -> None:
    """Raise UploadOutOfOrder unless a chunk starts at `offset`, where the upload ends.

    A chunk whose `start` nobody told is in order.
    """
    if start is not None and start != offset:
        raise UploadOutOfOrder(
            f"the chunk starts at byte {start}, but the upload continues at {offset}; "
            "send the chunk that starts there",
            offset=offset,
        )


def render_range(offset: int) -> str:
    """Return the Range header for an upload of `offset` bytes: `0-<last byte>`.

    The spec has no form for an empty upload; `0-0` is what registries send and what the
    conformance suite reads. It also means one byte, so a client that knows it has sent
    nothing must start at 0.
    """
    return f"0-{max(offset - 1, 0)}"
