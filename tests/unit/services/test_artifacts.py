"""Artifacts hold files as the image-spec advises, and refer to their subject."""

import os
from pathlib import Path

import pytest

from entrepot.oci.errors import DigestInvalid, ManifestInvalid, Unavailable
from entrepot.services.artifacts import ArtifactFile, attach
from entrepot.services.validation import validate
from entrepot.testing.example_images import image
from entrepot.testing.memory_end import MemoryEnd
from tests.unit.services.editing import NEW, holding, ignore, manifest

TYPE = "application/vnd.example.sbom"
EMPTY = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


async def test_files_are_attached(tmp_path: Path) -> None:
    (tmp_path / "sbom.json").write_text("{}")
    (tmp_path / "notes").write_bytes(b"n" * 3_000_000)
    one = image()
    target = holding(one)
    files = [
        ArtifactFile(tmp_path / "sbom.json", "application/json"),
        ArtifactFile(tmp_path / "notes", annotations={"org.opencontainers.image.title": "N"}),
    ]
    roots = [
        await attach(one.root, files, TYPE, {"b": "2", "a": "1"}, target, [], ignore)
        for _ in range(2)
    ]
    assert roots[0] == roots[1]
    document = manifest(target, roots[0])
    assert document["config"] | {"data": "e30="} == document["config"]
    assert document["config"]["digest"] == EMPTY
    assert document["artifactType"] == TYPE
    assert document["subject"] == one.root.to_json()
    titles = [one["annotations"]["org.opencontainers.image.title"] for one in document["layers"]]
    assert titles == ["sbom.json", "N"]
    assert [found.digest for found in await target.referrers(one.root.digest, TYPE)] == [
        roots[0].digest
    ]
    assert await validate(target, roots[0], ignore) == []


async def test_without_files_there_is_the_empty_one() -> None:
    target = MemoryEnd()
    root = await attach(None, [], TYPE, {}, target, [NEW], ignore)
    document = manifest(target, root)
    assert document["layers"] == [document["config"]]
    assert "subject" not in document
    assert await target.resolve(NEW) == root


async def test_what_is_no_type_or_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestInvalid, match="artifact type"):
        await attach(None, [], "sbom", {}, MemoryEnd(), [], ignore)
    with pytest.raises(Unavailable, match="none"):
        await attach(None, [ArtifactFile(tmp_path / "none")], TYPE, {}, MemoryEnd(), [], ignore)


async def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unavailable, match="no regular file"):
        await attach(None, [ArtifactFile(tmp_path / "pipe")], TYPE, {}, MemoryEnd(), [], ignore)


async def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    class Slow(MemoryEnd):
        async def has_blob(self, descriptor: object) -> bool:
            path.write_text("behind")
            return False

    target = Slow()
    with pytest.raises(DigestInvalid):
        await attach(None, [ArtifactFile(path)], TYPE, {}, target, [NEW], ignore)
    assert not target.images.tags
