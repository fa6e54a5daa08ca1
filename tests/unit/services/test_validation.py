"""Validation finds every way in which an image is not what it says, and says which part it is."""

import gzip
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.services.validation import ValidationOptions, validate
from entrepot.testing.example_images import ELSEWHERE, HERE, image, index
from entrepot.testing.memory_end import MemoryEnd
from tests.unit.adapters.rootfs import layers as tars
from tests.unit.services.editing import base, holding, ignore, manifest


async def test_good_images_are_good() -> None:
    for one in (base(), base(docker=True), index((HERE, base()))):
        assert await validate(holding(one), one.root, ignore) == []


def rebuilt(
    change_config: Callable[[dict[str, Any]], object] = lambda _: None,
    change_manifest: Callable[[dict[str, Any]], object] = lambda _: None,
) -> tuple[MemoryEnd, Descriptor]:
    """Return an image whose documents were changed, digests and all."""
    one = base()
    end = holding(one)
    document = manifest(end, one.root)
    config = json.loads(end.images.blobs[Digest.parse(document["config"]["digest"])])
    change_config(config)
    content = json.dumps(config).encode()
    end.images.blobs[Digest.of(content)] = content
    document["config"] |= {"digest": str(Digest.of(content)), "size": len(content)}
    change_manifest(document)
    content = json.dumps(document).encode()
    root = Descriptor(one.root.media_type, Digest.of(content), len(content))
    end.images.manifests[root.digest] = root.media_type, content
    return end, root


def swap(document: dict[str, Any]) -> None:
    document["rootfs"]["diff_ids"].reverse()


@pytest.mark.parametrize(
    ("end", "root", "told"),
    [
        (*rebuilt(swap), ["the image's config says", "the image's config says"]),
        (*rebuilt(lambda one: one["rootfs"]["diff_ids"].pop()), ["1 diff IDs for 2 layers"]),
        (*rebuilt(lambda one: one["history"].pop()), ["tells of 1 layers, there are 2"]),
        (*rebuilt(lambda one: one.pop("os")), ["operating system"]),
        (*rebuilt(lambda one: one.pop("rootfs")), ["rootfs is missing"]),
        (
            *rebuilt(change_manifest=lambda one: one["layers"][0].update(size=5)),
            ["layer|blob .* bytes"],
        ),
        (
            *rebuilt(
                change_manifest=lambda one: one["layers"][0].update(
                    mediaType="application/vnd.oci.image.layer.v1.tar+zstd"
                )
            ),
            ["media type says zstd"],
        ),
        (
            *rebuilt(
                change_manifest=lambda one: one["layers"][0].update(
                    mediaType="application/vnd.docker.image.rootfs.diff.tar.gzip"
                )
            ),
            ["does not belong"],
        ),
        (*rebuilt(change_manifest=lambda one: one.pop("config")), ["config is missing"]),
    ],
)
async def test_what_is_wrong_is_told(end: MemoryEnd, root: Descriptor, told: list[str]) -> None:
    findings = await validate(end, root, ignore)
    assert len(findings) == len(told), findings
    for finding, words in zip(findings, told, strict=True):
        assert re.search(words, finding.problem)


async def test_damaged_and_missing_blobs_are_told_unless_fast() -> None:
    one = base()
    end = holding(one)
    lower, upper = one.layers
    end.images.blobs[lower.digest] = gzip.compress(b"x")
    del end.images.blobs[upper.digest]
    findings = await validate(end, one.root, ignore)
    assert [(found.severity, found.subject) for found in findings] == [
        ("error", lower.digest),
        ("error", upper.digest),
    ]
    assert await validate(end, one.root, ignore, ValidationOptions(fast=True)) == []


async def test_missing_images_and_wrong_platforms_of_an_index_are_told() -> None:
    here, there = base(), base(platform=ELSEWHERE)
    one = index((ELSEWHERE, here), (HERE, there))
    end = holding(one)
    del end.images.manifests[there.root.digest]
    problems = [found.problem for found in await validate(end, one.root, ignore)]
    assert len(problems) == 2
    assert "linux/arm64/v8" in problems[0]
    assert "no manifest" in problems[1]


async def test_layers_that_would_do_harm_are_told() -> None:
    one = image(layers=[tars.layer(tars.file("../up"))])
    (finding,) = await validate(holding(one), one.root, ignore)
    assert "'../up'" in finding.problem
