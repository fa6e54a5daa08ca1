"""Content is placed only once its bytes are on the disk."""

import os
from pathlib import Path

import pytest

from entrepot.adapters.content_stores.blob_files import BlobFiles
from entrepot.adapters.content_stores.ingest_file import IngestFile
from entrepot.adapters.content_stores.ingest_place import IngestPlace
from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, BlobUploadUnknown, Unavailable

DIGEST = Digest.of(b"bytes")


@pytest.fixture
def file(tmp_path: Path) -> IngestFile:
    file = IngestFile(IngestPlace.create(str(tmp_path), "upload", "sha256"))
    file.write([b"bytes"])
    return file


def test_bytes_that_could_not_be_synced_are_dropped(tmp_path: Path, file: IngestFile) -> None:
    """The kernel tells of a lost write once; a second commit would find nothing wrong."""
    blobs = BlobFiles(str(tmp_path), durable=True)
    reader, writer = os.pipe()
    os.dup2(writer, file.descriptor)  # a pipe cannot be synced
    with pytest.raises(Unavailable):
        blobs.place(file, DIGEST)
    with pytest.raises(BlobUnknown):
        blobs.size(DIGEST)
    with pytest.raises(BlobUploadUnknown):
        IngestFile(file.place)
    for descriptor in (reader, writer, file.descriptor):
        os.close(descriptor)


def test_an_ingest_aborted_during_the_commit_places_nothing(
    tmp_path: Path, file: IngestFile
) -> None:
    blobs = BlobFiles(str(tmp_path), durable=True)
    file.place.remove()
    with pytest.raises(BlobUploadUnknown):
        blobs.place(file, DIGEST)
    with pytest.raises(BlobUnknown):
        blobs.size(DIGEST)
    file.close()
