"""DNS messages: questions put into bytes, answers read from them. As much of it as finding an
upstream's endpoints needs; who is asked, and how often, is in `adapters/remotes/dns_client`.

Whoever knows our question can send an answer, so nothing in one is believed before it matches.
Source: RFC 1035, section 4 (messages, compression); RFC 3596 (AAAA); RFC 2782 (SRV).
"""

import ipaddress
import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

MAX_UDP: Final = 512
"""Most bytes of an answer over UDP; a longer one is cut, and asked for over TCP."""

_HEADER: Final = struct.Struct("!6H")
_QUESTION: Final = struct.Struct("!2H")
_RECORD: Final = struct.Struct("!2HIH")
_SERVICE: Final = struct.Struct("!3H")

_INTERNET: Final = 1
_RECURSION_DESIRED: Final = 0x0100
_RESPONSE: Final = 0x8000
_OPCODE: Final = 0x7800
_TRUNCATED: Final = 0x0200
_RCODE: Final = 0x000F
_POINTER: Final = 0xC0

_MAX_NAME: Final = 253
_MOST_JUMPS: Final = 64
_MOST_ALIASES: Final = 16
_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,63}", re.ASCII)
_ALIAS: Final = 5


class MessageInvalid(ValueError):
    """A message that is malformed, or no answer to what was asked."""


class Kind(IntEnum):
    """What is asked of a name."""

    A = 1
    AAAA = 28
    SRV = 33


class Outcome(IntEnum):
    """What a server has to say (RCODE); any other number is a failure of its own."""

    FOUND = 0
    NO_SUCH_NAME = 3


@dataclass(frozen=True, slots=True)
class Service:
    """Where a service is (RFC 2782): lower `priority` first, by `weight` among equal ones. An
    empty `target` says that there is none."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server knows of a name: addresses as text, or services, in the order they came.

    `ttl` is for how many seconds, at most; 0 without any values. `truncated` says that the answer
    must be had over TCP.
    """

    outcome: int
    truncated: bool = False
    addresses: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    ttl: int = 0


def encode_query(number: int, name: str, kind: Kind) -> bytes:
    """Return the question about a name, with an id of 16 bits. Raise MessageInvalid for a name
    that is none."""
    header = _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + _encode_name(name) + _QUESTION.pack(kind, _INTERNET)


def decode_answer(message: bytes, number: int, name: str, kind: Kind) -> Answer:
    """Read the answer to the question with that id. Raise MessageInvalid."""
    try:
        return _decode(message, number, name, kind)
    except (struct.error, IndexError):
        raise MessageInvalid("the message ends too early") from None


def _decode(message: bytes, number: int, name: str, kind: Kind) -> Answer:
    found, flags, questions, answers, _, _ = _HEADER.unpack_from(message)
    if found != number or not flags & _RESPONSE or flags & _OPCODE or questions != 1:
        raise MessageInvalid("this is no answer to the question")
    asked, at = _decode_name(message, _HEADER.size)
    if (*_QUESTION.unpack_from(message, at),) != (kind, _INTERNET) or not _same(asked, name):
        raise MessageInvalid("this is the answer to another question")
    outcome, truncated = flags & _RCODE, bool(flags & _TRUNCATED)
    if truncated or outcome != Outcome.FOUND:
        return Answer(outcome, truncated)
    return _collected(_records(message, at + _QUESTION.size, answers), asked, kind)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A record of the answer; its `value` is the name it is an alias of, an address or a
    service."""

    owner: str
    ttl: int
    value: "str | Service"
    alias: bool


def _records(message: bytes, at: int, count: int) -> list[_Entry]:
    found = []
    for _ in range(count):
        owner, at = _decode_name(message, at)
        kind, internet, ttl, length = _RECORD.unpack_from(message, at)
        at += _RECORD.size
        end = at + length
        if end > len(message):
            raise MessageInvalid("a record is longer than the message")
        if internet == _INTERNET and kind in (*Kind, _ALIAS):
            # A time with the first bit set is none (RFC 2181, section 8).
            value = _value(message, at, end, kind)
            found.append(_Entry(owner, ttl if ttl < 1 << 31 else 0, value, kind == _ALIAS))
        at = end
    return found


def _value(message: bytes, at: int, end: int, kind: int) -> "str | Service":
    if kind in (Kind.A, Kind.AAAA):
        if end - at != (4 if kind == Kind.A else 16):
            raise MessageInvalid("an address has the wrong length")
        return str(ipaddress.ip_address(message[at:end]))
    start = at + (_SERVICE.size if kind == Kind.SRV else 0)
    target, stop = _decode_name(message, start)
    if stop != end:
        raise MessageInvalid("a name has the wrong length")
    if kind == _ALIAS:
        return target
    priority, weight, port = _SERVICE.unpack_from(message, at)
    return Service(priority, weight, port, target)


def _collected(records: list[_Entry], name: str, kind: Kind) -> Answer:
    """Return what there is about a name, or about the name that it is an alias of."""
    ttls = []
    for _ in range(_MOST_ALIASES):
        alias = next((one for one in records if one.alias and _same(one.owner, name)), None)
        if alias is None:
            break
        name = str(alias.value)
        ttls.append(alias.ttl)
    ours = [one for one in records if not one.alias and _same(one.owner, name)]
    services = tuple(one.value for one in ours if isinstance(one.value, Service))
    addresses = tuple(
        one.value
        for one in ours
        if isinstance(one.value, str) and (":" in one.value) == (kind == Kind.AAAA)
    )
    if kind == Kind.SRV:
        addresses = ()
    else:
        services = ()
    if not addresses and not services:
        return Answer(Outcome.FOUND)
    ttl = min(ttls + [one.ttl for one in ours])
    return Answer(Outcome.FOUND, False, tuple(dict.fromkeys(addresses)), services, ttl)


def _encode_name(name: str) -> bytes:
    bare = name.removesuffix(".")
    labels = bare.split(".")
    if len(bare) > _MAX_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise MessageInvalid(f"{name[:255]!r} is no name that can be looked up")
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in labels) + b"\0"


def _decode_name(message: bytes, at: int) -> tuple[str, int]:
    """Return a name, empty for the root, and where it ends. Pointers only lead backwards."""
    labels: list[str] = []
    length, end, lowest = 0, -1, at
    for _ in range(_MOST_JUMPS + _MAX_NAME):
        size = message[at]
        if size & _POINTER == _POINTER:
            end = at + 2 if end < 0 else end
            at = (size & ~_POINTER) << 8 | message[at + 1]
            if at >= lowest:
                raise MessageInvalid("a name leads nowhere")
            lowest = at
            continue
        if size & _POINTER:
            raise MessageInvalid("a name is malformed")
        at += 1
        if size == 0:
            return ".".join(labels), at if end < 0 else end
        label = message[at : at + size].decode("latin-1")
        length += size + 1
        if length > _MAX_NAME + 1 or not _LABEL.fullmatch(label) or len(label) != size:
            raise MessageInvalid("a name is malformed")
        labels.append(label)
        at += size
    raise MessageInvalid("a name has no end")


def _same(first: str, second: str) -> bool:
    return first.removesuffix(".").lower() == second.removesuffix(".").lower()
