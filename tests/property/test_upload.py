"""Uploads: the machine never leaves its table, and chunks only ever append."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci.errors import (
    BlobUploadInvalid,
    BlobUploadUnknown,
    SizeInvalid,
    UploadOutOfOrder,
)
from entrepot.protocol.upload import (
    NEXT,
    ChunkRange,
    Event,
    State,
    after,
    check_length,
    check_order,
    parse_content_range,
    parse_session,
    render_range,
)
from tests.property import strategies

ENDED = {State.DONE, State.GONE}


def test_every_state_is_reached_and_only_an_end_has_no_way_out() -> None:
    reached = {State.OPEN}
    while more := {to for (of, _), to in NEXT.items() if of in reached} - reached:
        reached |= more
    assert reached == set(State)
    assert {of for of, _ in NEXT} == set(State) - ENDED
    assert {event for _, event in NEXT} == set(Event)


@given(st.lists(st.sampled_from(Event), max_size=30))
def test_any_events_follow_the_table_or_are_refused(events: list[Event]) -> None:
    state = State.OPEN
    for event in events:
        try:
            following = after(state, event)
        except BlobUploadUnknown:
            assert state in ENDED
        except BlobUploadInvalid:
            assert state not in ENDED
            assert (state, event) not in NEXT
        else:
            assert NEXT[state, event] is following
            state = following


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 5), st.booleans()), max_size=20))
def test_chunks_only_append(attempts: list[tuple[int, int, bool]]) -> None:
    blob = bytes(range(256))
    stored = b""
    for slip, length, cut in attempts:
        start = max(len(stored) + slip, 0)
        sent = blob[start : start + length - cut]
        chunk = ChunkRange(start, start + length - 1)
        try:
            check_length(chunk, len(sent))
            check_order(chunk.start, len(stored))
        except SizeInvalid:
            assert len(sent) != length
        except UploadOutOfOrder:
            assert start != len(stored)
        else:
            stored += sent
        assert stored == blob[: len(stored)]
        assert render_range(len(stored)) == f"0-{max(len(stored), 1) - 1}"


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_a_content_range_round_trips(start: int, more: int) -> None:
    chunk = ChunkRange(start, start + more)
    for text in (f"{start}-{start + more}", f"bytes {start}-{start + more}/{start + more + 1}"):
        assert parse_content_range(text) == chunk
    assert chunk.length == more + 1


@given(st.one_of(strategies.any_text, st.text("0123456789-/* =bytes", max_size=30)))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(BlobUploadInvalid):
        chunk = parse_content_range(text)
        assert 0 <= chunk.start <= chunk.end
    with suppress(BlobUploadUnknown):
        assert parse_session(text) == text
