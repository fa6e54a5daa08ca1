"""append, mutate, rebase, flatten, index and attach: new images of old ones."""

import json
import tarfile
from typing import Any

import pytest

from entrepot.testing.mock_images import MockImage
from entrepot.testing.mock_registry import MockRegistry
from tests.integration.cli.program import Program


def manifest(registry: MockRegistry, repository: str, reference: str) -> dict[str, Any]:
    content = registry.manifest(repository, reference)
    assert content is not None, f"there is no {reference}; there are {registry.tags(repository)}"
    return dict(json.loads(content))


def config(registry: MockRegistry, repository: str, reference: str) -> dict[str, Any]:
    digest = manifest(registry, repository, reference)["config"]["digest"]
    return dict(json.loads(registry.blob(digest)))


@pytest.fixture
def folder(entrepot: Program) -> str:
    """A folder with a file, relative to the program's own."""
    (entrepot.folder / "site").mkdir()
    (entrepot.folder / "site" / "index.html").write_text("hello")
    return "site"


def test_append_puts_a_layer_on_top(
    entrepot: Program, registry: MockRegistry, image: MockImage, folder: str
) -> None:
    words = ("append", "--prefix", "srv", image.reference, folder, "-t", ":with")
    done = entrepot(*words)
    assert done.lines[-1] == str(registry.tags("team/app")["with"])
    assert len(manifest(registry, "team/app", "with")["layers"]) == 3
    assert entrepot(*words).lines[-1] == done.lines[-1]
    entrepot("pull", "--unpack", "root", f"{registry.host}/team/app:with")
    assert (entrepot.folder / "root" / "srv" / "index.html").read_text() == "hello"


def test_append_to_nothing(entrepot: Program, registry: MockRegistry, folder: str) -> None:
    with tarfile.open(entrepot.folder / "layer.tar", "w") as tar:
        tar.add(entrepot.folder / folder / "index.html", "index.html")
    target = f"{registry.host}/new/image:1"
    words = ("--platform", "linux/arm64", "--compression", "zstd")
    entrepot("append", *words, "scratch", "layer.tar", "-t", target)
    assert config(registry, "new/image", "1")["architecture"] == "arm64"
    (layer,) = manifest(registry, "new/image", "1")["layers"]
    assert layer["mediaType"].endswith("zstd")
    assert "--tag" in entrepot("append", "scratch", "layer.tar", expect=64).err


def test_mutate_changes_settings(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    words = ["--env", "A=1", "-e", "PATH-", "--label", "stage=test", "--annotation", "b=2"]
    words += ["--entrypoint", "/bin/sh -c 'true now'", "--user", "1000", "--port", "80/tcp"]
    done = entrepot("mutate", image.reference, *words, "-t", ":changed", "-o", "json")
    assert done.json["tags"] == ["changed"]
    assert done.json["digest"] == str(registry.tags("team/app")["changed"])
    settings = config(registry, "team/app", "changed")["config"]
    assert settings["Env"] == ["A=1"]
    assert settings["Labels"]["stage"] == "test"
    assert settings["Entrypoint"] == ["/bin/sh", "-c", "true now"]
    assert (settings["User"], settings["ExposedPorts"]) == ("1000", {"80/tcp": {}})
    assert manifest(registry, "team/app", "changed")["annotations"] == {"b": "2"}


def test_without_a_tag_a_digest_is_all_there_is(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    digest = entrepot("mutate", "-q", image.reference, "--user", "x").out.strip()
    assert registry.tags("team/app") == {"1.0": image.digest}
    assert manifest(registry, "team/app", digest)
    assert "nothing is to be changed" in entrepot("mutate", image.reference, expect=64).err


def test_one_or_all_of_an_index_are_edited(
    entrepot: Program, registry: MockRegistry, index: MockImage
) -> None:
    words = ("mutate", index.reference, "--user", "x")
    assert "--platform" in entrepot(*words, expect=2).err
    entrepot(*words, "--all", "-t", ":all")
    before = {str(one.digest) for one in index.children}
    after = {one["digest"] for one in manifest(registry, "team/multi", "all")["manifests"]}
    assert len(after) == 2
    assert not before & after
    entrepot(*words, "--platform", "linux/arm64", "--keep-index", "-t", ":one")
    one = {entry["digest"] for entry in manifest(registry, "team/multi", "one")["manifests"]}
    assert len(one & before) == 1
    entrepot(*words, "--platform", "linux/arm64", "-t", ":alone")
    assert "layers" in manifest(registry, "team/multi", "alone")


def test_flatten_makes_one_layer(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    entrepot("flatten", image.reference, "-t", ":flat")
    assert len(manifest(registry, "team/app", "flat")["layers"]) == 1
    before = entrepot("export", image.reference).stdout
    assert entrepot("export", f"{registry.host}/team/app:flat").stdout == before


def test_rebase_replaces_the_lowest_layers(
    entrepot: Program, registry: MockRegistry, image: MockImage, folder: str
) -> None:
    other = registry.add_image("team/base", "new", layers=1)
    entrepot("append", image.reference, folder, "-t", ":built")
    built = manifest(registry, "team/app", "built")["layers"]
    words = ["rebase", f"{registry.host}/team/app:built"]
    bases = ["--old-base", image.reference, "--new-base", other.reference]
    entrepot(*words, *bases, "-t", ":rebased")
    layers = manifest(registry, "team/app", "rebased")["layers"]
    assert [one["digest"] for one in layers] == [
        *(str(one.digest) for one in other.layers),
        built[-1]["digest"],
    ]
    told = manifest(registry, "team/app", "rebased")["annotations"]
    assert told["org.opencontainers.image.base.name"] == other.reference
    assert "--old-base" in entrepot(*words, "-t", ":x", expect=64).err
    wrong = ["--old-base", other.reference, "--new-base", image.reference]
    assert "not built on" in entrepot(*words, *wrong, "-t", ":x", expect=1).err


def test_rebase_reads_the_base_from_the_annotations(
    entrepot: Program, registry: MockRegistry, image: MockImage, folder: str
) -> None:
    base = [f"org.opencontainers.image.base.name={image.reference}"]
    base += [f"org.opencontainers.image.base.digest={image.digest}"]
    entrepot("append", image.reference, folder, "-t", ":built")
    built = f"{registry.host}/team/app:built"
    entrepot("mutate", built, "--annotation", base[0], "--annotation", base[1], "-t", ":told")
    entrepot("append", image.reference, folder, "-t", ":1.0")  # the base has changed meanwhile
    entrepot("rebase", f"{registry.host}/team/app:told", "-t", ":rebased")
    assert len(manifest(registry, "team/app", "rebased")["layers"]) == 4


def test_an_index_is_made_added_to_and_taken_from(
    entrepot: Program, registry: MockRegistry, index: MockImage
) -> None:
    amd, arm = index.children
    names = [f"{registry.host}/team/multi@{one.digest}" for one in (amd, arm)]
    target = f"{registry.host}/new/index:1"
    entrepot("index", "create", "--annotation", "a=b", target, names[0])
    made = manifest(registry, "new/index", "1")
    assert made["annotations"] == {"a": "b"}
    assert [one["platform"]["architecture"] for one in made["manifests"]] == ["amd64"]
    done = entrepot("index", "add", target, names[1])
    assert done.lines[-1] == str(registry.tags("new/index")["1"])
    both = [one["digest"] for one in manifest(registry, "new/index", "1")["manifests"]]
    assert both == [str(amd.digest), str(arm.digest)]
    entrepot("index", "rm", target, "linux/amd64", "-t", ":less")
    less = manifest(registry, "new/index", "less")["manifests"]
    assert [one["digest"] for one in less] == [str(arm.digest)]
    entrepot("index", "rm", target, "linux/s390x", expect=2)


def test_an_index_in_a_new_layout(entrepot: Program, index: MockImage) -> None:
    entrepot("index", "create", "oci:out:all", index.reference)
    assert len(json.loads(entrepot("manifest", "oci:out:all").out)["manifests"]) == 2
    entrepot("index", "create", "oci-archive:new.tar:all", "oci:out:all")
    assert entrepot("tags", "oci-archive:new.tar").lines == ["all"]


def test_attach_refers_to_the_image(
    entrepot: Program, registry: MockRegistry, index: MockImage
) -> None:
    (entrepot.folder / "sbom.json").write_text("{}")
    words = ["attach", "--artifact-type", "application/spdx+json", "--annotation", "a=b"]
    done = entrepot(*words, index.reference, "sbom.json:application/json")
    artifact = manifest(registry, "team/multi", done.lines[-1])
    assert artifact["subject"]["digest"] == str(index.digest)
    assert artifact["annotations"] == {"a": "b"}
    (layer,) = artifact["layers"]
    assert layer["mediaType"] == "application/json"
    found = entrepot("referrers", "-o", "json", index.reference).json["referrers"]
    assert [one["digest"] for one in found] == [done.lines[-1]]
    amd, _ = index.children
    entrepot(*words, "--platform", "linux/amd64", index.reference, "sbom.json")
    told = entrepot("referrers", "-o", "json", "--platform", "linux/amd64", index.reference).json
    assert (told["subject"], len(told["referrers"])) == (str(amd.digest), 1)


def test_pairs_are_name_and_value(entrepot: Program, image: MockImage) -> None:
    words = ("attach", "--artifact-type", "a/b", "--annotation", "novalue", image.reference, "x")
    assert "NAME=VALUE" in entrepot(*words, expect=64).err
