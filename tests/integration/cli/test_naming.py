"""tag and rm: names given and taken; nothing is guessed."""

import pytest

from entrepot.testing.mock_images import MockImage
from entrepot.testing.mock_registry import MockRegistry
from tests.integration.cli.program import Program


def test_tags_are_given_without_pulling(
    entrepot: Program, registry: MockRegistry, index: MockImage
) -> None:
    place = f"{registry.host}/team/multi"
    done = entrepot("tag", index.reference, "stable", f"{place}:latest")
    assert done.lines == ["tagged stable", "tagged latest", str(index.digest)]
    assert set(registry.tags("team/multi").values()) == {index.digest}
    assert set(registry.tags("team/multi")) == {"2.0", "stable", "latest"}
    assert registry.count("GET", "*/blobs/*") == 0


def test_a_tag_elsewhere_is_a_copy(entrepot: Program, image: MockImage) -> None:
    done = entrepot("tag", image.reference, "other.example/team/app:1", expect=64)
    assert "entrepot cp" in done.err


def test_layouts_are_tagged_too(entrepot: Program, image: MockImage) -> None:
    entrepot("pull", image.reference, "oci:out:1")
    entrepot("tag", "oci:out:1", "2")
    assert entrepot("tags", "oci:out").lines == ["1", "2"]


def test_a_tag_goes_alone(entrepot: Program, registry: MockRegistry, image: MockImage) -> None:
    entrepot("tag", image.reference, "old")
    done = entrepot("rm", f"{registry.host}/team/app:old")
    assert done.out == f"removed {registry.host}/team/app:old\n"
    assert registry.tags("team/app") == {"1.0": image.digest}


@pytest.mark.parametrize("by", ["option", "digest"])
def test_a_manifest_goes_with_its_tags(
    entrepot: Program, registry: MockRegistry, image: MockImage, by: str
) -> None:
    entrepot("tag", image.reference, "old")
    if by == "option":
        entrepot("rm", "--digest", image.reference)
    else:
        entrepot("rm", f"{registry.host}/team/app@{image.digest}")
    assert registry.tags("team/app") == {}
    assert registry.manifest("team/app", image.digest) is None


def test_nothing_is_guessed(entrepot: Program, registry: MockRegistry, image: MockImage) -> None:
    assert "no tag and no digest" in entrepot("rm", f"{registry.host}/team/app", expect=64).err
    assert "not in a registry" in entrepot("rm", "oci:out:1", expect=64).err
    both = ("rm", image.reference, f"{registry.host}/team/app")
    entrepot(*both, expect=64)
    assert registry.tags("team/app") == {"1.0": image.digest}
    entrepot("rm", f"{registry.host}/team/app:gone", expect=2)
