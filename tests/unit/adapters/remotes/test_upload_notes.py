"""Notes of uploads: private, locked while used, believed for a week, and never in the way."""

import json
import os
from pathlib import Path

import pytest

from entrepot.adapters.remotes.upload_notes import LIFETIME, UploadNote, UploadNotes
from entrepot.oci.digest import Digest
from entrepot.oci.reference import RepositoryName

DIGEST = Digest.of(b"large")
NAME = RepositoryName("tests/one")
LOCATION = "/v2/tests/one/blobs/uploads/1?_state=x"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def opened(
    notes: UploadNotes, digest: Digest = DIGEST, name: RepositoryName = NAME
) -> UploadNote:
    note = await notes.open("r.example", name, digest)
    assert note is not None
    return note


async def test_what_was_written_is_found_by_the_next_one(tmp_path: Path) -> None:
    note = await opened(UploadNotes(tmp_path / "new" / "folder"))
    assert note.location is None
    await note.write("/v2/first")
    await note.write(LOCATION)
    note.release()
    again = await opened(UploadNotes(tmp_path / "new" / "folder"))
    assert again.location == LOCATION
    again.release()


async def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    note = await opened(UploadNotes(folder))
    await note.write(LOCATION)
    (file,) = files(folder)
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    note.release()


async def test_what_is_used_is_used_by_one(tmp_path: Path) -> None:
    notes = UploadNotes(tmp_path)
    note = await opened(notes)
    assert await notes.open("r.example", NAME, DIGEST) is None
    other = await opened(notes, Digest.of(b"other"))
    elsewhere = await opened(notes, DIGEST, RepositoryName("tests/two"))
    for one in (note, other, elsewhere):
        one.release()
    (await opened(notes)).release()


async def test_an_upload_that_has_ended_leaves_nothing(tmp_path: Path) -> None:
    note = await opened(UploadNotes(tmp_path))
    await note.write(LOCATION)
    await note.remove()
    note.release()
    assert files(tmp_path) == []


async def test_the_next_note_of_the_same_name_stays(tmp_path: Path) -> None:
    notes = UploadNotes(tmp_path)
    first = await opened(notes)
    await first.write(LOCATION)
    await first.remove()
    second = await opened(notes)
    await second.write(LOCATION)
    await first.remove()
    first.release()
    assert len(files(tmp_path)) == 1
    second.release()


async def test_an_upload_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    (await opened(UploadNotes(tmp_path))).release()
    assert files(tmp_path) == []


async def test_notes_are_believed_for_a_week(tmp_path: Path) -> None:
    clock = Clock()
    note = await opened(UploadNotes(tmp_path, now=clock))
    await note.write(LOCATION)
    note.release()
    clock.now += LIFETIME + 1
    again = await opened(UploadNotes(tmp_path, now=clock))
    assert again.location is None
    again.release()


async def test_old_notes_are_removed(tmp_path: Path) -> None:
    notes = UploadNotes(tmp_path)
    note = await opened(notes)
    await note.write(LOCATION)
    note.release()
    (file,) = files(tmp_path)
    os.utime(file, (0, 0))
    keep = tmp_path / "not-a-note"
    keep.write_text("somebody else's")
    os.utime(keep, (0, 0))
    (await opened(UploadNotes(tmp_path), Digest.of(b"other"))).release()
    assert files(tmp_path) == [keep]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"location":"/v2/x"}',
        json.dumps({"location": "http://evil.example/", "written": 1_000_000.0}).encode(),
        json.dumps({"location": "//evil.example/", "written": 1_000_000.0}).encode(),
        json.dumps({"location": 7, "written": 1_000_000.0}).encode(),
        json.dumps({"location": "/v2/x", "written": "soon"}).encode(),
        json.dumps({"location": "/v2/x", "written": 2_000_000.0}).encode(),
        b"\xff" * 100_000,
    ],
)
async def test_a_damaged_note_is_none(tmp_path: Path, content: bytes) -> None:
    notes = UploadNotes(tmp_path, now=Clock())
    note = await opened(notes)
    await note.write(LOCATION)
    note.release()
    (file,) = files(tmp_path)
    file.write_bytes(content)
    again = await opened(notes)
    assert again.location is None
    again.release()


async def test_where_no_note_can_be_kept_there_is_none(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert await UploadNotes(blocked / "uploads").open("r.example", NAME, DIGEST) is None


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    notes = UploadNotes(tmp_path)
    note = await opened(notes)
    await note.write(LOCATION)
    note.release()
    (file,) = files(tmp_path)
    target = tmp_path / "target"
    file.rename(target)
    file.symlink_to(target)
    assert await notes.open("r.example", NAME, DIGEST) is None
