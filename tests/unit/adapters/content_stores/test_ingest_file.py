"""An ingest's file is written to by one holder, and never once it is content."""

import os
from pathlib import Path

import pytest

from entrepot.adapters.content_stores.blob_files import BlobFiles
from entrepot.adapters.content_stores.ingest_file import IngestFile
from entrepot.adapters.content_stores.ingest_place import IngestPlace
from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUploadUnknown, StoreFull, UploadBusy


@pytest.fixture
def place(tmp_path: Path) -> IngestPlace:
    return IngestPlace.create(str(tmp_path), "upload", "sha256")


def test_a_file_has_one_holder_until_it_is_closed(place: IngestPlace) -> None:
    holder = IngestFile(place)
    with pytest.raises(UploadBusy):
        IngestFile(place)
    holder.close()
    IngestFile(place).close()


def test_a_child_process_does_not_go_on_holding_the_file(place: IngestPlace) -> None:
    """While a child is being started it has the descriptors of its parent."""
    holder = IngestFile(place)
    shared = os.dup(holder.descriptor)
    holder.close()
    IngestFile(place).close()
    os.close(shared)


def test_what_was_committed_between_opening_and_locking_is_not_written_to(
    tmp_path: Path, place: IngestPlace
) -> None:
    blobs = BlobFiles(str(tmp_path), durable=False)
    digest = Digest.of(b"")

    class Late(IngestFile):
        def _lock(self) -> None:
            winner = IngestFile(place)
            blobs.place(winner, digest)
            winner.close()
            super()._lock()

    with pytest.raises(BlobUploadUnknown):
        Late(place)
    assert blobs.read(digest) == b""


def test_blocks_are_written_in_order_and_counted(place: IngestPlace) -> None:
    file = IngestFile(place)
    file.write([b"one ", b"two "])
    file.write([b"", b"three"])
    file.close()
    assert Path(place.path).read_bytes() == b"one two three"
    assert file.size == len(b"one two three")


def test_a_full_device_is_a_full_store(place: IngestPlace) -> None:
    file = IngestFile(place)
    with open("/dev/full", "wb", buffering=0) as full:
        os.dup2(full.fileno(), file.descriptor)
    with pytest.raises(StoreFull):
        file.write([b"bytes"])
    file.close()


def test_truncate_drops_what_is_behind(place: IngestPlace) -> None:
    file = IngestFile(place)
    file.write([b"kept, dropped"])
    file.truncate(4)
    file.write([b"!"])
    file.close()
    assert Path(place.path).read_bytes() == b"kept!"
    assert file.size == 5
