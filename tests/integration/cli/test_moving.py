"""pull, push, cp, save and load: what lands where, and what is printed about it."""

import io
import json
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from entrepot.testing.mock_connection_faults import Slow, Stall
from entrepot.testing.mock_faults import Headers, Status, WrongDigest
from entrepot.testing.mock_images import MockImage
from entrepot.testing.mock_registry import MockRegistry
from tests.integration.cli.program import Program
from tests.server import RunningServer

ENDS = ["oci:out:x", "oci-archive:out.tar:x", "docker-archive:out.tar:a/b:x", "store:./data:a/b:x"]


def names(archive: bytes) -> set[str]:
    """Return the names at the top of an archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        return {name for name in files.getnames() if "/" not in name}


def test_the_digest_is_the_last_line(entrepot: Program, image: MockImage) -> None:
    done = entrepot("pull", image.reference)
    assert done.lines == [
        f"{image.reference} -> oci:app:1.0",
        f"blobs: 3 copied ({image.size / 1024:.1f} KiB); manifests: 1",
        str(image.digest),
    ]
    again = entrepot("pull", image.reference)
    assert again.lines[-2:] == ["blobs: 3 already there; manifests: 1", str(image.digest)]


def test_quiet_is_the_digest_alone(entrepot: Program, image: MockImage) -> None:
    done = entrepot("pull", "-q", image.reference)
    assert (done.out, done.err) == (f"{image.digest}\n", "")


def test_json_has_the_documented_keys(entrepot: Program, index: MockImage) -> None:
    done = entrepot("pull", "-o", "json", index.reference, "a.tar")
    assert done.json == {
        "source": f"docker://{index.reference}",
        "destination": "oci-archive:a.tar:2.0",
        "digest": str(index.digest),
        "media_type": index.descriptor.media_type,
        "size": index.descriptor.size,
        "tags": ["2.0"],
        "platforms": None,
        "blobs": {"copied": 6, "present": 0, "mounted": 0},
        "manifests": 3,
        "copied_bytes": index.size,
        "total_bytes": index.size,
        "replaced": {},
    }


def test_progress_is_json_lines_beside_the_output(entrepot: Program, image: MockImage) -> None:
    done = entrepot("pull", image.reference)
    finished = [event for event in done.events if event["event"] == "finished"]
    assert {event["digest"] for event in finished} == {str(blob.digest) for blob in image.blobs}
    assert [event["event"] for event in done.events][-1] == "manifest"
    assert len(done.events) == len(done.err.splitlines())


@pytest.mark.parametrize("end", ENDS)
def test_what_was_pulled_can_be_pushed(
    entrepot: Program, registry: MockRegistry, image: MockImage, end: str
) -> None:
    assert entrepot("pull", image.reference, end).lines[-1] == str(image.digest)
    done = entrepot("push", end, f"{registry.host}/copy/of")
    assert done.lines[-1] == str(image.digest)
    assert registry.manifest("copy/of", "x") == image.manifest


@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_a_path_is_what_its_content_is(
    entrepot: Program, registry: MockRegistry, image: MockImage, form: str
) -> None:
    entrepot("pull", "--format", form, image.reference, "thing")
    entrepot("push", "thing", f"{registry.host}/copy/of")
    entrepot("push", "thing:1.0", f"{registry.host}/copy/of:named")
    assert registry.tags("copy/of") == {"1.0": image.digest, "named": image.digest}


def test_what_is_no_image_is_not_pushed(entrepot: Program, registry: MockRegistry) -> None:
    target = f"{registry.host}/copy/of"
    assert "no file or folder" in entrepot("push", "nothing", target, expect=64).err
    (entrepot.folder / "empty").mkdir()
    assert "no image layout" in entrepot("push", "empty", target, expect=4).err
    (entrepot.folder / "text").write_text("no archive")
    assert "no archive of images" in entrepot("push", "text", target, expect=4).err
    with tarfile.open(entrepot.folder / "other.tar", "w"):
        pass
    assert "holds neither" in entrepot("push", "other.tar", target, expect=4).err


def test_an_archive_may_come_and_go_by_pipe(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    for form in ("oci-archive", "docker-archive"):
        pulled = entrepot("pull", "--format", form, image.reference, "-")
        assert "index.json" in names(pulled.stdout)
        assert pulled.err.splitlines()[-1] == str(image.digest)
        entrepot("push", "-", f"{registry.host}/piped/{form}:1", input=pulled.stdout)
        assert registry.tags(f"piped/{form}") == {"1": image.digest}


def test_all_platforms_are_copied_unless_one_is_named(
    entrepot: Program, registry: MockRegistry, index: MockImage
) -> None:
    everything = entrepot("cp", index.reference, f"{registry.host}/all/of:1")
    assert everything.lines[-1] == str(index.digest)
    _, arm = index.children
    done = entrepot("cp", "--platform", "linux/arm64", index.reference, f"{registry.host}/arm/of:1")
    assert done.lines[-1] == str(arm.digest)
    assert registry.tags("arm/of") == {"1": arm.digest}
    unknown = ("cp", "--platform", "linux/s390x", index.reference, "oci:out")
    assert "linux/amd64" in entrepot(*unknown, expect=2).err
    assert "not a platform" in entrepot("cp", "--platform", "arm", "a", "b", expect=64).err


def test_a_conversion_shows_the_new_digest(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    done = entrepot("cp", "--format", "docker", image.reference, f"{registry.host}/as/docker:1")
    digest = done.lines[-1]
    assert digest != str(image.digest)
    assert f"{image.digest} became {digest}" in done.lines
    content = registry.manifest("as/docker", "1")
    assert content is not None
    assert "docker.distribution.manifest.v2" in json.loads(content)["mediaType"]


def test_within_a_registry_nothing_is_sent(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    done = entrepot("cp", "-o", "json", image.reference, f"{registry.host}/copy/of")
    assert done.json["blobs"] == {"copied": 0, "present": 0, "mounted": 3}
    assert done.json["tags"] == ["1.0"]


def test_referrers_come_along_if_asked(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    signature = registry.add_artifact(
        "team/app", artifact_type="application/vnd.example.sig", subject=image.descriptor
    )
    entrepot("cp", image.reference, f"{registry.host}/without/it")
    assert registry.manifest("without/it", signature.digest) is None
    entrepot("cp", "--referrers", image.reference, f"{registry.host}/with/it")
    assert registry.manifest("with/it", signature.digest) == signature.manifest
    other = ("--referrers", "--artifact-type", "application/vnd.example.sbom")
    entrepot("cp", *other, image.reference, f"{registry.host}/with/other")
    assert registry.manifest("with/other", signature.digest) is None


def test_unpack_writes_the_files(entrepot: Program, index: MockImage) -> None:
    done = entrepot("pull", "--unpack", "root", "-o", "json", index.reference)
    written = [path for path in (entrepot.folder / "root").rglob("*") if path.is_file()]
    assert len(written) == done.json["layers"] == 2
    assert done.json["total_bytes"] == sum(path.stat().st_size for path in written)
    assert done.json["skipped"] == []
    again = entrepot("pull", "--unpack", "root", index.reference, expect=1)
    assert "root" in again.err
    both = ("pull", "--unpack", "root", index.reference, "oci:x")
    assert "either" in entrepot(*both, expect=64).err


def test_save_puts_several_images_into_one_archive(
    entrepot: Program, registry: MockRegistry, image: MockImage, index: MockImage
) -> None:
    done = entrepot("save", image.reference, index.reference, "-o", "both.tar")
    assert {"manifest.json", "index.json"} <= names((entrepot.folder / "both.tar").read_bytes())
    amd, _ = index.children
    assert done.lines[-2:] == [str(image.digest), str(amd.digest)]
    loaded = entrepot("load", "-i", "both.tar", f"{registry.host}/loaded/")
    assert loaded.lines[-2:] == done.lines[-2:]
    assert registry.tags("loaded/team/app") == {"1.0": image.digest}
    assert registry.tags("loaded/team/multi") == {"2.0": amd.digest}


def test_load_fills_our_own_store(entrepot: Program, image: MockImage) -> None:
    archive = entrepot("save", image.reference, "-o", "-").stdout
    done = entrepot("load", "-o", "json", input=archive)
    assert [one["destination"] for one in done.json["images"]] == ["store:team/app:1.0"]
    assert entrepot("digest", "store:team/app:1.0").out == f"{image.digest}\n"
    assert (entrepot.folder / "entrepot-data").is_dir()


def test_load_gives_a_single_image_the_name_it_is_told(
    entrepot: Program, registry: MockRegistry, image: MockImage, index: MockImage
) -> None:
    entrepot("save", image.reference, "-o", "one.tar")
    entrepot("load", "-i", "one.tar", f"{registry.host}/other/name")
    assert registry.tags("other/name") == {"1.0": image.digest}
    entrepot("save", image.reference, index.reference, "-o", "two.tar")
    done = entrepot("load", "-i", "two.tar", f"{registry.host}/other/name", expect=2)
    assert "holds several images" in done.err


def test_names_that_would_replace_each_other_are_refused(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    other = registry.add_image("team/other", "1.0")
    words = ("save", "--format", "oci-archive", image.reference, other.reference, "-o", "x.tar")
    assert "1.0" in entrepot(*words, expect=64).err
    assert not (entrepot.folder / "x.tar").exists()


def test_warnings_of_a_registry_are_said(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    registry.fault(Headers({"Warning": '299 - "this image is old"'}), path="*/manifests/*")
    done = entrepot("pull", "-q", image.reference)
    assert done.err.splitlines() == [line for line in done.err.splitlines() if "warning: " in line]
    assert "this image is old" in done.err


@pytest.mark.parametrize(("status", "code"), [(404, 2), (401, 3), (403, 3), (400, 1)])
def test_a_refusal_is_one_line_and_an_exit_code(
    entrepot: Program, registry: MockRegistry, image: MockImage, status: int, code: int
) -> None:
    registry.fault(Status(status), path="*/manifests/*", times=None)
    done = entrepot("pull", image.reference, expect=code)
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("error: ")
    assert registry.host in line


def named(entrepot: Program) -> list[Path]:
    """Return the archives that can be seen. What has come of one that is not whole is kept,
    hidden, for the next attempt."""
    return [file for file in entrepot.folder.glob("*a.tar*") if not file.name.startswith(".")]


def test_content_that_is_not_what_it_says_exits_4(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    registry.fault(WrongDigest(), path="*/blobs/*", times=None)
    done = entrepot("pull", image.reference, "a.tar", expect=4)
    assert "error: " in done.err
    assert list(entrepot.folder.glob("*a.tar*")) == []


def test_ctrl_c_ends_cleanly(entrepot: Program, registry: MockRegistry, image: MockImage) -> None:
    standing = registry.fault(Stall(after_bytes=100), path="*/blobs/*", times=None)
    process = entrepot.start("pull", image.reference, "a.tar")
    standing.wait()
    process.send_signal(2)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err
    assert b"error" not in err
    assert not named(entrepot)


def test_sigterm_ends_cleanly(entrepot: Program, registry: MockRegistry, image: MockImage) -> None:
    standing = registry.fault(Stall(after_bytes=100), path="*/blobs/*", times=None)
    process = entrepot.start("pull", image.reference, "a.tar")
    standing.wait()
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert b"Traceback" not in err
    assert not named(entrepot)


def test_progress_comes_once_a_second_at_most(entrepot: Program, registry: MockRegistry) -> None:
    image = registry.add_image("big/one", "1", layers=1, layer_size=3_000_000)
    registry.fault(Slow(1_000_000), path="*/blobs/*", times=None)
    started = time.monotonic()
    done = entrepot("pull", image.reference)
    took = time.monotonic() - started
    told = [event for event in done.events if event["event"] == "progress"]
    assert 1 <= len(told) <= took
    assert told[0]["total_bytes"] == image.size


def test_a_reader_that_goes_away_is_no_traceback(entrepot: Program, image: MockImage) -> None:
    process = entrepot.start("pull", image.reference, "-")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert b"Traceback" not in err


def test_an_archive_is_not_written_onto_a_terminal(entrepot: Program, image: MockImage) -> None:
    words = f"{RunningServer.program()} pull {image.reference} -"
    done = subprocess.run(
        ["script", "-qec", words, "/dev/null"],
        env=entrepot.environment,
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 64
    assert b"not written onto a terminal" in done.stdout
