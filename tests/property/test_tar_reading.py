"""Tars: whatever bytes come, they are read or refused, and nothing lies outside the file."""

import os
import tempfile

from hypothesis import example, given
from hypothesis import strategies as st

from entrepot.adapters.ends.tar_reading import TarFiles
from entrepot.adapters.ends.tar_writing import header
from entrepot.oci.errors import ContentInvalid

ENTRY = header("index.json", 700) + b"x" * 700 + bytes(324)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A tar in which some bytes are others."""
    content = bytearray(ENTRY * draw(st.integers(1, 3)))
    for at, byte in draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=8)
    ):
        content[at] = byte
    content[148:156] = b"%06o\0 " % (sum(content[:512]) - sum(content[148:156]) + 256)
    return bytes(content[: draw(st.integers(0, len(content)))])


@given(st.one_of(st.binary(max_size=2048), damaged()))
@example(b"")
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            files = TarFiles(os.dup(file.fileno()), "an archive")
        except ContentInvalid:
            return
        for entry in files.entries.values():
            assert 0 <= entry.start <= entry.start + entry.size <= len(content)
        files.close()
