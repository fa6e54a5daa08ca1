"""DNS messages: what servers may send, well-formed or not."""

import ipaddress
import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrepot.protocol.dns import (
    Answer,
    Kind,
    MessageInvalid,
    Service,
    decode_answer,
    encode_query,
)

LABELS = st.text("abcxyz019-_", min_size=1, max_size=12)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
TTLS = st.integers(0, (1 << 31) - 1)
NUMBERS = st.integers(0, 0xFFFF)
V4 = st.ip_addresses(v=4).map(str)
V6 = st.ip_addresses(v=6).map(str)
SERVICES = st.builds(Service, NUMBERS, NUMBERS, NUMBERS, NAMES | st.just(""))


@dataclass
class Writer:
    """Writes a server's answer, with names compressed wherever that is possible."""

    written: bytes = b""
    places: dict[str, int] = field(default_factory=dict)

    def name(self, name: str, before: int = 0) -> bytes:
        """Return a name as it stands `before` bytes behind what was written."""
        made = b""
        while name:
            if name in self.places:
                return made + struct.pack("!H", 0xC000 | self.places[name])
            place = len(self.written) + before + len(made)
            if place < 0x4000:
                self.places[name] = place
            label, _, name = name.partition(".")
            made += bytes([len(label)]) + label.encode()
        return made + b"\0"

    def question(self, number: int, flags: int, name: str, kind: Kind, answers: int) -> None:
        self.written = struct.pack("!6H", number, flags, 1, answers, 0, 0)
        self.written += self.name(name) + struct.pack("!2H", kind, 1)

    def record(self, owner: str, kind: int, ttl: int, value: str | Service) -> None:
        head = self.name(owner)
        before = len(head) + 10
        if isinstance(value, Service):
            numbers = struct.pack("!3H", value.priority, value.weight, value.port)
            data = numbers + self.name(value.target, before + 6)
        elif kind == 5:
            data = self.name(value, before)
        else:
            data = ipaddress.ip_address(value).packed
        self.written += head + struct.pack("!2HIH", kind, 1, ttl, len(data)) + data


def answered(
    name: str,
    kind: Kind,
    values: list[tuple[int, str | Service]],
    aliases: list[str] | None = None,
    *,
    number: int = 7,
    flags: int = 0x8180,
) -> bytes:
    writer = Writer()
    chain = aliases or []
    writer.question(number, flags, name, kind, len(values) + len(chain))
    for alias in chain:
        writer.record(name, 5, 300, alias)
        name = alias
    for ttl, value in values:
        writer.record(name, kind, ttl, value)
    return writer.written


@given(NAMES, st.lists(st.tuples(TTLS, V4), max_size=8), NUMBERS)
def test_addresses_are_read(name: str, values: list[tuple[int, str]], number: int) -> None:
    message = answered(name, Kind.A, list(values), number=number)
    found = decode_answer(message, number, name.upper(), Kind.A)
    assert found.addresses == tuple(dict.fromkeys(address for _, address in values))
    assert found.ttl == min((ttl for ttl, _ in values), default=0)


@given(NAMES, st.lists(st.tuples(TTLS, V6), max_size=8))
def test_long_addresses_are_read(name: str, values: list[tuple[int, str]]) -> None:
    found = decode_answer(answered(name, Kind.AAAA, list(values)), 7, name, Kind.AAAA)
    assert found.addresses == tuple(dict.fromkeys(address for _, address in values))


@given(NAMES, st.lists(SERVICES, max_size=8))
def test_services_are_read(name: str, services: list[Service]) -> None:
    message = answered(name, Kind.SRV, [(60, one) for one in services])
    assert decode_answer(message, 7, name, Kind.SRV).services == tuple(services)


@given(st.lists(NAMES, min_size=1, max_size=4, unique=True), V4)
def test_aliases_lead_to_the_addresses(names: list[str], address: str) -> None:
    message = answered(names[0], Kind.A, [(600, address)], names[1:])
    found = decode_answer(message, 7, names[0], Kind.A)
    assert found.addresses == (address,)
    assert found.ttl == (600 if len(names) == 1 else 300)


@given(NAMES, st.sampled_from(Kind), NUMBERS)
def test_a_question_is_no_answer_and_holds_what_is_asked(
    name: str, kind: Kind, number: int
) -> None:
    query = encode_query(number, name, kind)
    with pytest.raises(MessageInvalid, match="no answer"):
        decode_answer(query, number, name, kind)
    reply = query[:2] + struct.pack("!H", 0x8180) + query[4:]
    assert decode_answer(reply, number, name, kind) == Answer(0)


@given(NAMES, NAMES, NUMBERS)
def test_an_answer_to_another_question_is_none(name: str, other: str, number: int) -> None:
    message = answered(name, Kind.A, [(60, "192.0.2.1")])
    for wrong in ((number, name, Kind.A), (7, other, Kind.A), (7, name, Kind.AAAA)):
        if wrong != (7, name, Kind.A):
            with pytest.raises(MessageInvalid):
                decode_answer(message, *wrong)


@given(st.binary(max_size=80), st.binary(max_size=200))
@example(b"", b"\xc0\x0c" + b"\0" * 20)
@example(b"", b"\x01a\xc0\x0c" + b"\0" * 20)
def test_nothing_that_is_sent_makes_the_reader_stumble(head: bytes, tail: bytes) -> None:
    start = answered("a.example", Kind.SRV, [])
    several = start[:6] + b"\0\x03" + start[8:]
    for message in (head, start + tail, several + tail):
        try:
            decode_answer(message, 7, "a.example", Kind.SRV)
        except MessageInvalid:
            continue


@given(st.data())
def test_a_cut_or_changed_message_is_refused_or_read(data: st.DataObject) -> None:
    whole = answered("a.example", Kind.A, [(60, "192.0.2.1"), (60, "192.0.2.2")], ["b.example"])
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(MessageInvalid):
        decode_answer(whole[:at], 7, "a.example", Kind.A)
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        decode_answer(bytes(changed), 7, "a.example", Kind.A)
    except MessageInvalid:
        return


def test_a_truncated_answer_and_a_failure_say_so() -> None:
    message = answered("a.example", Kind.A, [(60, "192.0.2.1")], flags=0x8380)
    assert decode_answer(message, 7, "a.example", Kind.A) == Answer(0, truncated=True)
    message = answered("a.example", Kind.A, [], flags=0x8183)
    assert decode_answer(message, 7, "a.example", Kind.A) == Answer(3)


@pytest.mark.parametrize(
    "name",
    ["", ".", "a..b", "a b", "é.example", "a" * 64, ".".join(["abcdefghi"] * 30), "a.example\n"],
    ids=["empty", "root", "gap", "space", "accent", "long label", "long", "line"],
)
def test_what_is_no_name_is_not_asked(name: str) -> None:
    with pytest.raises(MessageInvalid, match="no name"):
        encode_query(1, name, Kind.A)
