"""sync: our lists and skopeo's, chosen tags, failures, and runs that only tell."""

import pytest

from entrepot.testing.mock_faults import Status
from entrepot.testing.mock_images import MockImage
from entrepot.testing.mock_registry import MockRegistry
from tests.integration.cli.program import Program


@pytest.fixture
def registry(registry: MockRegistry) -> MockRegistry:
    """A registry with three versions of an image, and another image."""
    for tag in ("1.0", "1.1", "2.0-rc1"):
        registry.add_image("demo/app", tag, seed=tag)
    registry.add_image("demo/other", "latest")
    return registry


def list_of(entrepot: Program, text: str) -> str:
    (entrepot.folder / "list.yaml").write_text(text)
    return "list.yaml"


def test_our_list(entrepot: Program, registry: MockRegistry) -> None:
    ours = f"""
sync:
  - from: {registry.host}/demo/app
    to: {registry.host}/mirror/app
    tags: ["1.0", "1.1"]
  - from: {registry.host}/demo/other:latest
    to: {registry.host}/mirror/other:renamed
"""
    done = entrepot("sync", list_of(entrepot, ours))
    assert done.lines[-1] == "3 copied, 0 failed"
    assert f"{registry.host}/demo/app:1.0 -> {registry.host}/mirror/app:1.0" in done.lines
    assert set(registry.tags("mirror/app")) == {"1.0", "1.1"}
    assert set(registry.tags("mirror/other")) == {"renamed"}


def test_skopeos_list(entrepot: Program, registry: MockRegistry) -> None:
    theirs = f"""
{registry.host}:
  tls-verify: false
  images:
    demo/other: []
  images-by-tag-regex:
    demo/app: ^1\\.0$
  images-by-semver:
    demo/app: ">= 2.0.0-0"
"""
    entrepot("sync", list_of(entrepot, theirs), f"{registry.host}/second")
    assert set(registry.tags("second/demo/app")) == {"1.0", "2.0-rc1"}
    assert set(registry.tags("second/demo/other")) == {"latest"}


def test_credentials_of_the_list_are_used(entrepot: Program, registry: MockRegistry) -> None:
    registry.require_basic({"ann": "her password"})
    with MockRegistry() as other:
        theirs = f"""
{registry.host}:
  images: {{demo/other: [latest]}}
  credentials: {{username: ann, password: her password}}
"""
        done = entrepot("sync", "--debug", list_of(entrepot, theirs), other.host)
        assert set(other.tags("demo/other")) == {"latest"}
        assert "her password" not in done.out + done.err


def test_a_dry_run_only_tells(entrepot: Program, registry: MockRegistry) -> None:
    ours = f"sync: [{{from: {registry.host}/demo/app, tag-regex: '^1', to: {registry.host}/m/app}}]"
    done = entrepot("sync", "--dry-run", list_of(entrepot, ours))
    assert done.lines == [
        f"{registry.host}/demo/app:1.0 -> {registry.host}/m/app:1.0",
        f"{registry.host}/demo/app:1.1 -> {registry.host}/m/app:1.1",
        "2 planned",
    ]
    assert registry.tags("m/app") == {}
    told = entrepot("sync", "--dry-run", "-o", "json", "list.yaml").json
    assert [one["status"] for one in told["images"]] == ["planned", "planned"]


@pytest.mark.parametrize("on", [True, False])
def test_a_failure_ends_it_unless_told_otherwise(
    entrepot: Program, registry: MockRegistry, on: bool
) -> None:
    registry.fault(Status(403), path="/v2/demo/app/manifests/1.0", times=None)
    ours = f"""
sync:
  - {{from: {registry.host}/demo/app, to: {registry.host}/m/app, tags: ["1.0", "1.1"]}}
  - {{from: {registry.host}/demo/nothing, to: {registry.host}/m/nothing}}
  - {{from: {registry.host}/demo/other, to: {registry.host}/m/other}}
"""
    words = ["--keep-going"] if on else []
    done = entrepot("sync", *words, "-o", "json", list_of(entrepot, ours), expect=1)
    statuses = [one["status"] for one in done.json["images"]]
    assert statuses == (["failed", "copied", "failed", "copied"] if on else ["failed"])
    assert "403" in done.json["images"][0]["error"]
    assert done.err.count("error: ") == statuses.count("failed")
    assert set(registry.tags("m/other")) == ({"latest"} if on else set())


def test_quiet_says_nothing(entrepot: Program, registry: MockRegistry) -> None:
    ours = f"sync: [{{from: {registry.host}/demo/other, to: {registry.host}/m/other}}]"
    done = entrepot("sync", "--quiet", list_of(entrepot, ours))
    assert (done.out, done.err) == ("", "")
    assert set(registry.tags("m/other")) == {"latest"}


def test_platforms_and_digests(entrepot: Program, registry: MockRegistry, index: MockImage) -> None:
    amd, _ = index.children
    ours = f"""
sync:
  - from: {registry.host}/team/multi
    to: {registry.host}/m/multi
    tags: ["{index.digest}", "2.0"]
    platforms: [linux/amd64]
"""
    entrepot("sync", list_of(entrepot, ours))
    assert registry.tags("m/multi") == {"2.0": amd.digest}


def test_a_list_that_is_wrong_says_where(entrepot: Program) -> None:
    done = entrepot("sync", list_of(entrepot, "sync: [{from: a, tag: b}]"), expect=1)
    assert "sync[0].tag is unknown" in done.err
    assert "no YAML" in entrepot("sync", list_of(entrepot, "a: ]"), expect=1).err
    assert "where a goes" in entrepot("sync", list_of(entrepot, "sync: [{from: a}]"), expect=64).err
    assert "nowhere.yaml" in entrepot("sync", "nowhere.yaml", expect=1).err
