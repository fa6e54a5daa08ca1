"""Which image of an index is for a machine."""

import pytest

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.platform import Platform
from entrepot.rules.platform_choice import (
    ATTESTED_KIND,
    acceptable_platforms,
    choose,
    offered,
)


def offer(text: str, **annotations: str) -> Descriptor:
    """Return an index entry for `os/architecture[/variant][:os.version]`; `-` says nothing."""
    name, _, version = text.partition(":")
    parts = name.split("/")
    platform = None
    if text != "-":
        platform = Platform(parts[0], parts[1], "".join(parts[2:]), version)
    named = {key.replace("_", "."): value for key, value in annotations.items()}
    return Descriptor(
        media_types.OCI_MANIFEST, Digest.of(text.encode()), 1, named, platform=platform
    )


def platform(text: str) -> Platform:
    name, _, version = text.partition(":")
    parsed = Platform.parse(name)
    return Platform(parsed.os, parsed.architecture, parsed.variant, version)


@pytest.mark.parametrize(
    ("wanted", "offers", "chosen"),
    [
        ("linux/amd64", "linux/arm64 linux/amd64", "linux/amd64"),
        ("linux/amd64", "linux/amd64/v3 linux/amd64", "linux/amd64"),
        ("linux/amd64", "linux/amd64/v2 linux/amd64/v3", None),
        ("linux/amd64/v3", "linux/amd64 linux/amd64/v2 linux/amd64/v4", "linux/amd64/v2"),
        ("linux/amd64/v3", "linux/amd64/v2 linux/amd64/v3", "linux/amd64/v3"),
        ("linux/amd64/v4", "linux/386 linux/amd64/v1", "linux/amd64/v1"),
        ("linux/amd64", "linux/386", "linux/386"),
        ("linux/386", "linux/amd64", None),
        ("linux/x86_64", "linux/amd64", "linux/amd64"),
        ("linux/arm/v8", "linux/arm/v5 linux/arm/v6 linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/v7", "linux/arm/v5 linux/arm/v6", "linux/arm/v6"),
        ("linux/arm", "linux/arm/v6 linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v7", None),
        ("linux/arm64", "linux/arm linux/arm64", "linux/arm64"),
        ("linux/arm64", "linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm64/v8", "linux/arm64", "linux/arm64"),
        ("linux/arm64", "linux/arm64/v9", None),
        ("linux/arm64/v9", "linux/arm64/v8.6 linux/arm64/v8.5", "linux/arm64/v8.5"),
        ("linux/arm64/v8.2", "linux/arm64 linux/arm64/v8.1", "linux/arm64/v8.1"),
        ("linux/arm64", "linux/arm/v6 linux/arm/v7", "linux/arm/v7"),
        ("linux/s390x", "linux/amd64", None),
        ("linux/riscv64", "linux/riscv64", "linux/riscv64"),
        ("windows/amd64", "linux/amd64", None),
        ("linux/amd64", "unknown/unknown - linux/amd64", "linux/amd64"),
        ("linux/amd64", "- unknown/unknown", None),
        ("unknown/unknown", "unknown/unknown", None),
        (
            "windows/amd64:10.0.17763",
            "windows/amd64:10.0.20348.1 windows/amd64:10.0.17763.9 windows/amd64:10.0.17763.10",
            "windows/amd64:10.0.17763.10",
        ),
        ("windows/amd64:10.0.17763", "windows/amd64:10.0.20348.1", None),
        (
            "windows/amd64",
            "windows/amd64:10.0.17763.9 windows/amd64:10.0.20348.1",
            "windows/amd64:10.0.17763.9",
        ),
    ],
)
def test_the_best_image_is_chosen(wanted: str, offers: str, chosen: str | None) -> None:
    found = choose([offer(text) for text in offers.split()], platform(wanted))
    assert found == (None if chosen is None else offer(chosen))


def test_the_first_of_equals_is_chosen() -> None:
    first, second = offer("linux/amd64"), offer("linux/amd64", note="the same again")
    assert choose([first, second], platform("linux/amd64")) is first


def test_an_attestation_is_never_chosen() -> None:
    attestation = offer("linux/amd64", **{ATTESTED_KIND.replace(".", "_"): "attestation-manifest"})
    assert choose([attestation], platform("linux/amd64")) is None


def test_only_images_are_offered() -> None:
    listed = [offer("windows/amd64:10.0.1"), offer("unknown/unknown"), offer("-"), offer("a/b")]
    assert offered(listed) == ("a/b", "windows/amd64 (10.0.1)")


def test_what_is_asked_for_comes_first_and_nothing_twice() -> None:
    for text in ("linux/arm64/v9.2", "linux/amd64/v4", "linux/arm", "linux/ppc64le"):
        acceptable = acceptable_platforms(platform(text))
        assert acceptable[0] == platform(text).normalised()
        assert len(set(acceptable)) == len(acceptable)
