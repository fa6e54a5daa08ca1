import pytest

from entrepot.oci.errors import (
    BlobUploadInvalid,
    BlobUploadUnknown,
    RegistryError,
    SizeInvalid,
    UploadBusy,
    UploadOutOfOrder,
)
from entrepot.protocol import upload
from entrepot.protocol.upload import ChunkRange, Event, State, after


def _run(*events: Event) -> State:
    state = State.OPEN
    for event in events:
        state = after(state, event)
    return state


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((Event.CLOSED, Event.VERIFIED), State.DONE),
        ((Event.BODY_STARTED, Event.BODY_STORED, Event.CLOSED, Event.VERIFIED), State.DONE),
        ((Event.BODY_STARTED, Event.BODY_LOST), State.OPEN),
        ((Event.BODY_STARTED, Event.BODY_LOST, Event.BODY_STARTED), State.RECEIVING),
        ((Event.CLOSED, Event.MISMATCHED), State.GONE),
        ((Event.CLOSED, Event.INTERRUPTED, Event.CLOSED, Event.VERIFIED), State.DONE),
        ((Event.CANCELLED,), State.GONE),
        ((Event.EXPIRED,), State.GONE),
        ((Event.BODY_STARTED, Event.CANCELLED), State.GONE),
        ((Event.BODY_STARTED, Event.EXPIRED), State.GONE),
        ((Event.CLOSED, Event.CANCELLED), State.GONE),
        ((Event.CLOSED, Event.EXPIRED), State.GONE),
    ],
)
def test_the_ways_an_upload_goes(events: tuple[Event, ...], state: State) -> None:
    assert _run(*events) is state


@pytest.mark.parametrize(
    ("state", "event", "error"),
    [
        (State.RECEIVING, Event.BODY_STARTED, UploadBusy),
        (State.RECEIVING, Event.CLOSED, UploadBusy),
        (State.COMMITTING, Event.BODY_STARTED, UploadBusy),
        (State.COMMITTING, Event.CLOSED, UploadBusy),
        (State.DONE, Event.BODY_STARTED, BlobUploadUnknown),
        (State.DONE, Event.CANCELLED, BlobUploadUnknown),
        (State.GONE, Event.CLOSED, BlobUploadUnknown),
        (State.GONE, Event.CANCELLED, BlobUploadUnknown),
        (State.GONE, Event.BODY_STORED, BlobUploadUnknown),
        (State.OPEN, Event.BODY_STORED, BlobUploadInvalid),
        (State.OPEN, Event.VERIFIED, BlobUploadInvalid),
    ],
)
def test_what_is_not_in_the_table_is_refused(
    state: State, event: Event, error: type[RegistryError]
) -> None:
    with pytest.raises(RegistryError) as refused:
        after(state, event)
    assert type(refused.value) is error


@pytest.mark.parametrize("text", ["a", "0" * 64, "AZaz09_-", "6f1ed002-ab5e-4f3c"])
def test_an_upload_id_is_accepted(text: str) -> None:
    assert upload.parse_session(text) == text


@pytest.mark.parametrize("text", ["", "a" * 65, "a.b", "a/b", "..", "ä", "a\n", "a b", "\0"])
def test_what_cannot_be_an_upload_id_is_unknown(text: str) -> None:
    with pytest.raises(BlobUploadUnknown):
        upload.parse_session(text)


@pytest.mark.parametrize(
    ("text", "chunk"),
    [
        ("0-0", ChunkRange(0, 0)),
        ("0-99", ChunkRange(0, 99)),
        ("100-199", ChunkRange(100, 199)),
        ("bytes 0-99/200", ChunkRange(0, 99)),
        ("bytes 0-99/*", ChunkRange(0, 99)),
        ("bytes 100-199/200", ChunkRange(100, 199)),
        ("bytes=0-99", ChunkRange(0, 99)),
    ],
)
def test_a_content_range_is_read_in_the_specs_and_in_https_form(
    text: str, chunk: ChunkRange
) -> None:
    assert upload.parse_content_range(text) == chunk


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "0-",
        "-5",
        "5-4",
        "0--1",
        "a-b",
        "0-9 ",
        " 0-9",
        "+0-9",
        "0-9,20-29",
        "0x0-0x9",
        "\u0660-\u0669",
        "bytes 0-9/9",
        "bytes */9",
        "items 0-9/10",
        "0-" + "9" * 5000,
    ],
)
def test_a_content_range_that_is_none_is_invalid(text: str) -> None:
    with pytest.raises(BlobUploadInvalid):
        upload.parse_content_range(text)


@pytest.mark.parametrize("length", [0, 9, 11, 2**63])
def test_a_body_must_fill_its_range(length: int) -> None:
    chunk = ChunkRange(10, 19)
    upload.check_length(chunk, 10)
    with pytest.raises(SizeInvalid):
        upload.check_length(chunk, length)


@pytest.mark.parametrize("offset", [0, 9, 11])
def test_a_chunk_out_of_order_is_told_where_to_go_on(offset: int) -> None:
    upload.check_order(10, 10)
    with pytest.raises(UploadOutOfOrder) as refused:
        upload.check_order(10, offset)
    assert refused.value.offset == offset


def test_a_chunk_that_does_not_say_where_it_starts_is_in_order() -> None:
    upload.check_order(None, 10)


@pytest.mark.parametrize(("offset", "text"), [(0, "0-0"), (1, "0-0"), (2, "0-1"), (100, "0-99")])
def test_the_range_header_ends_at_the_last_byte(offset: int, text: str) -> None:
    assert upload.render_range(offset) == text
