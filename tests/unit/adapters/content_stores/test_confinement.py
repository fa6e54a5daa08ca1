"""Nothing outside the root is read or written, whatever an id or a digest says."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUploadInvalid, BlobUploadUnknown, DigestInvalid
from entrepot.testing.sources import arriving

HOSTILE = [
    Digest("sha256", "../../../outside/secret"),
    Digest("sha256", "/etc/passwd"),
    Digest("..", "a" * 64),
    Digest("../../outside", "secret"),
    Digest("sha256", ""),
    Digest("sha256", "a\0b"),
]


def contents(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.iterdir()]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory beside the root, with something to protect in it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    return outside


@pytest.mark.parametrize("digest", HOSTILE, ids=repr)
async def test_a_forged_digest_reaches_no_file(
    store: FilesystemContentStore, outside: Path, digest: Digest
) -> None:
    for attempt in (
        store.size(digest),
        store.open(digest),
        store.read(digest, 100),
        store.delete(digest),
        store.put(digest, b"secret"),
    ):
        with pytest.raises(DigestInvalid):
            await attempt
    ingest = await store.ingest("upload", create=True)
    await ingest.append(arriving(b"bytes"))
    with pytest.raises(DigestInvalid):
        await ingest.commit(digest)
    assert contents(outside) == [b"secret"]


@given(upload=st.text(max_size=80) | st.sampled_from(["../../outside/x", "../blobs", "..\\x"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
async def test_an_id_reaches_only_its_own_directory(
    store: FilesystemContentStore, root: Path, upload: str
) -> None:
    before = {path for path in root.parent.rglob("*") if root / "ingests" not in path.parents}
    try:
        ingest = await store.ingest(upload, create=True)
    except BlobUploadInvalid:
        with pytest.raises(BlobUploadUnknown):
            await store.ingest(upload)
        assert list((root / "ingests").iterdir()) == []
    else:
        assert [path.name for path in (root / "ingests").iterdir()] == [upload]
        await ingest.abort()
    after = {path for path in root.parent.rglob("*") if root / "ingests" not in path.parents}
    assert after == before
