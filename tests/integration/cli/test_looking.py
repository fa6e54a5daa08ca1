"""inspect, manifest, config, digest, tags, repos, ping, blob, referrers, validate, export."""

import io
import tarfile

import pytest

from entrepot.testing.mock_faults import Instead, WrongDigest
from entrepot.testing.mock_images import MockImage
from entrepot.testing.mock_registry import MockRegistry
from tests.integration.cli.program import Program


def test_digest_is_asked_with_head_alone(
    entrepot: Program, registry: MockRegistry, index: MockImage
) -> None:
    assert entrepot("digest", index.reference).out == f"{index.digest}\n"
    assert registry.count("GET", "*/manifests/*") == 0
    assert registry.count("HEAD", "*/manifests/*") == 1


def test_digest_of_a_platform_and_as_json(entrepot: Program, index: MockImage) -> None:
    _, arm = index.children
    done = entrepot("digest", "--platform", "linux/arm64", "-o", "json", index.reference)
    assert done.json["digest"] == str(arm.digest)
    assert done.json["size"] == arm.descriptor.size


def test_what_is_not_there_exits_2(entrepot: Program, registry: MockRegistry) -> None:
    for words in (["digest"], ["inspect"], ["manifest"], ["tags"], ["validate"]):
        done = entrepot(*words, f"{registry.host}/not/there:1", expect=2)
        assert done.err.startswith("error: ")


def test_manifest_is_what_is_stored_byte_by_byte(entrepot: Program, index: MockImage) -> None:
    assert entrepot("manifest", index.reference).stdout == index.manifest
    amd, _ = index.children
    done = entrepot("manifest", "--platform", "linux/amd64", index.reference)
    assert done.stdout == amd.manifest


def test_config_is_that_of_the_image(
    entrepot: Program, registry: MockRegistry, index: MockImage
) -> None:
    _, arm = index.children
    done = entrepot("config", "--platform", "linux/arm64", index.reference)
    assert done.stdout == registry.blob(arm.blobs[0].digest)
    assert entrepot("config", "image", index.reference).json["architecture"] in ("amd64", "arm64")


def test_config_still_shows_our_own(entrepot: Program) -> None:
    assert "[server]" in entrepot("config", "show").out
    assert "no mistakes" in entrepot("config", "check").out


def test_inspect_tells_what_an_image_is(entrepot: Program, index: MockImage) -> None:
    amd, arm = index.children
    facts = entrepot("inspect", "-o", "json", "--platform", "linux/amd64", index.reference).json
    assert facts["name"] == index.reference.rpartition(":")[0]
    assert (facts["tag"], facts["digest"]) == ("2.0", str(index.digest))
    assert [(one["platform"], one["digest"]) for one in facts["platforms"]] == [
        ("linux/amd64", str(amd.digest)),
        ("linux/arm64", str(arm.digest)),
    ]
    assert facts["manifest_digest"] == str(amd.digest)
    assert facts["total_size"] == amd.size
    assert [layer["digest"] for layer in facts["layers"]] == [str(one.digest) for one in amd.layers]
    assert facts["env"] == ["PATH=/bin"]
    assert "tags" not in facts


def test_inspect_as_text_can_be_searched(entrepot: Program, image: MockImage) -> None:
    done = entrepot("inspect", "--tags", image.reference)
    assert f"digest:      {image.digest}" in done.lines
    assert "platform:    linux/amd64" in done.lines
    assert done.lines[-2:] == ["tags:", "  1.0"]
    for layer in image.layers:
        assert any(line.startswith(f"  {layer.digest}  ") for line in done.lines)


def test_inspect_tells_of_artifacts_too(entrepot: Program, registry: MockRegistry) -> None:
    artifact = registry.add_artifact(
        "team/app", tag="sbom", artifact_type="application/vnd.example.sbom"
    )
    facts = entrepot("inspect", "-o", "json", artifact.reference).json
    assert facts["artifact_type"] == "application/vnd.example.sbom"
    assert facts["env"] == []


@pytest.mark.parametrize("end", ["oci:out:x", "oci-archive:out.tar:x", "store:a/b:x"])
def test_other_ends_are_looked_at_alike(entrepot: Program, image: MockImage, end: str) -> None:
    entrepot("cp", image.reference, end)
    assert entrepot("digest", end).out == f"{image.digest}\n"
    assert entrepot("tags", end).lines == ["x"]
    assert entrepot("inspect", "-o", "json", end).json["digest"] == str(image.digest)


def test_tags_and_repositories_are_lists(
    entrepot: Program, registry: MockRegistry, image: MockImage, index: MockImage
) -> None:
    registry.add_image("team/app", "0.9")
    assert entrepot("tags", f"{registry.host}/team/app").lines == ["0.9", "1.0"]
    assert entrepot("tags", "-o", "json", f"{registry.host}/team/app").json == {
        "name": f"{registry.host}/team/app",
        "tags": ["0.9", "1.0"],
    }
    assert entrepot("repos", registry.host).lines == ["team/app", "team/multi"]
    assert entrepot("repos", "-o", "json", registry.host).json == {
        "registry": registry.host,
        "repositories": ["team/app", "team/multi"],
    }


def test_ping_says_how_a_registry_speaks(entrepot: Program, registry: MockRegistry) -> None:
    facts = entrepot("ping", "-o", "json", registry.host).json
    assert facts["url"] == f"http://{registry.host}"
    assert (facts["authentication"], facts["authorised"]) == ("", True)
    registry.require_basic({"ann": "secret"})
    facts = entrepot("ping", "-o", "json", registry.host).json
    assert (facts["authentication"], facts["authorised"]) == ("basic", False)
    assert "authorised:      no" in entrepot("ping", registry.host).lines


def test_nothing_there_is_one_line(entrepot: Program) -> None:
    done = entrepot("ping", "--retries", "0", "127.0.0.1:1", expect=1)
    assert len(done.err.splitlines()) == 1


def test_blobs_are_listed_read_and_written(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    listed = entrepot("blob", "ls", "-o", "json", image.reference).json["blobs"]
    assert [one["digest"] for one in listed] == [str(one.digest) for one in image.blobs]
    assert len(entrepot("blob", "ls", image.reference).lines) == len(image.blobs)
    name, layer = f"{registry.host}/team/app", image.layers[0].digest
    content = entrepot("blob", "get", f"{name}@{layer}").stdout
    assert content == registry.blob(layer)
    (entrepot.folder / "file").write_bytes(b"from a file")
    for words, sent in ((["file"], b"from a file"), (["-"], b"from a pipe")):
        digest = entrepot("blob", "put", "-q", name, *words, input=b"from a pipe").out.strip()
        assert registry.blob(digest) == sent
    assert "NAME@DIGEST" in entrepot("blob", "get", image.reference, expect=64).err
    assert "there" in entrepot("blob", "get", f"{name}@sha256:{'0' * 64}", expect=2).err


def test_a_blob_that_is_another_exits_4(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    registry.fault(WrongDigest(), path="*/blobs/*", times=None)
    blob = f"{registry.host}/team/app@{image.layers[0].digest}"
    entrepot("blob", "get", blob, expect=4)


def test_referrers_are_a_tree(entrepot: Program, registry: MockRegistry, image: MockImage) -> None:
    sbom = registry.add_artifact(
        "team/app", artifact_type="application/vnd.example.sbom", subject=image.descriptor
    )
    signature = registry.add_artifact(
        "team/app", artifact_type="application/vnd.example.sig", subject=sbom.descriptor
    )
    done = entrepot("referrers", image.reference)
    assert done.lines[0].endswith(f"team/app@{image.digest}")
    assert done.lines[1].startswith(f"└── {sbom.digest}  ")
    assert done.lines[2].startswith(f"    └── {signature.digest}  ")
    told = entrepot("referrers", "-o", "json", image.reference).json
    assert told["subject"] == str(image.digest)
    (first,) = told["referrers"]
    assert first["artifact_type"] == "application/vnd.example.sbom"
    assert [one["digest"] for one in first["referrers"]] == [str(signature.digest)]
    other = ("--artifact-type", "application/vnd.example.none")
    assert entrepot("referrers", *other, "-o", "json", image.reference).json["referrers"] == []


def test_validate_reads_all_of_an_image(
    entrepot: Program, registry: MockRegistry, index: MockImage
) -> None:
    done = entrepot("validate", index.reference)
    assert done.lines == [f"{index.reference} is valid", str(index.digest)]
    registry.fault(Instead(b"x"), digest=index.children[1].layers[0].digest, times=None)
    broken = entrepot("validate", "-o", "json", index.reference, expect=4).json
    assert broken["valid"] is False
    assert [one["subject"] for one in broken["findings"]] == [
        str(index.children[1].layers[0].digest)
    ]
    assert entrepot("validate", "-q", "--fast", index.reference).out == ""


def test_export_is_the_root_file_system(entrepot: Program, image: MockImage) -> None:
    done = entrepot("export", image.reference)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        assert files.getnames() == [".", "layer-0", "layer-1"]
    told = entrepot("export", image.reference, "-o", "root.tar")
    assert told.lines[-1] == str(image.digest)
    assert (entrepot.folder / "root.tar").read_bytes() == done.stdout


def test_an_export_that_fails_leaves_nothing(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    registry.fault(WrongDigest(), path="*/blobs/*", times=None)
    entrepot("export", image.reference, "-o", "root.tar", expect=4)
    assert [path.name for path in entrepot.folder.iterdir() if "tar" in path.name] == []
