"""Images as the field has them, beyond the plain ones, go from End to End unchanged, and others
agree on what has arrived."""

import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from tests.docker_registry import RunningDockerRegistry
from tests.interop import images
from tests.interop.ends import KINDS, Places
from tests.interop.images import HERE, TAG, add_image
from tests.interop.layouts import CONFIG, INDEX, LAYER, MANIFEST, Descriptor, Layout
from tests.interop.sandbox import Sandbox
from tests.interop.test_ends import recompressed
from tests.server import RunningServer

pytestmark = [pytest.mark.slow, pytest.mark.real("docker-registry", "busybox", "skopeo")]

DOCKER: Final = "application/vnd.docker"
DOCKER_MANIFEST: Final = f"{DOCKER}.distribution.manifest.v2+json"
DOCKER_LIST: Final = f"{DOCKER}.distribution.manifest.list.v2+json"
DOCKER_LAYER: Final = f"{DOCKER}.image.rootfs.diff.tar.gzip"
DOCKER_CONFIG: Final = f"{DOCKER}.container.image.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"

Make = Callable[[Layout, Layout], Descriptor]


def manifest(config: Descriptor, layers: Sequence[Descriptor], **more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": list(layers),
    } | more


def docker_manifest(layout: Layout, image: Layout) -> Descriptor:
    """The same image in Docker's format."""
    old = image.document(image.find())
    config = layout.add(image.file(old["config"]["digest"]).read_bytes(), DOCKER_CONFIG)
    layers = [
        layout.add(image.file(one["digest"]).read_bytes(), DOCKER_LAYER) for one in old["layers"]
    ]
    made = manifest(config, layers, mediaType=DOCKER_MANIFEST)
    return layout.add_json(made, DOCKER_MANIFEST)


def docker_list(layout: Layout, image: Layout) -> Descriptor:
    child = docker_manifest(layout, image) | {"platform": {"architecture": HERE, "os": "linux"}}
    made = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [child]}
    return layout.add_json(made, DOCKER_LIST)


def attested(layout: Layout, image: Layout) -> Descriptor:
    """As buildx makes it: the index lists an attestation as an image for no platform."""
    child = add_image(layout, [images.layer([("a", b"b")])], HERE)
    statement = layout.add(
        b'{"_type":"https://in-toto.io/Statement/v0.1"}', "application/vnd.in-toto+json"
    )
    config = layout.add_json(
        {
            "architecture": "unknown",
            "os": "unknown",
            "rootfs": {"type": "layers", "diff_ids": [statement["digest"]]},
        },
        CONFIG,
    )
    attestation = layout.add_json(manifest(config, [statement]), MANIFEST)
    entries = [
        child | {"platform": {"architecture": HERE, "os": "linux"}},
        attestation
        | {
            "platform": {"architecture": "unknown", "os": "unknown"},
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": child["digest"],
            },
        },
    ]
    return layout.add_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, INDEX)


def nested(layout: Layout, image: Layout) -> Descriptor:
    """An index of indexes, two of which are the same."""
    child = add_image(layout, [images.layer([("a", b"b")])], HERE)
    inner = layout.add_json(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [child | {"platform": {"architecture": HERE, "os": "linux"}}],
        },
        INDEX,
    )
    outer = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [inner, child, inner]}
    return layout.add_json(outer, INDEX)


def artifact(layout: Layout, image: Layout) -> Descriptor:
    """No image at all: a chart, with an empty config that is also its second layer."""
    empty = layout.add(b"{}", EMPTY)
    chart = layout.add(b"chart" * 100, "application/vnd.example.chart.v1.tar")
    made = manifest(empty, [chart, empty], artifactType="application/vnd.example.chart")
    return layout.add_json(made | {"annotations": {"org.example": "ü \u2028"}}, MANIFEST)


def uncompressed(layout: Layout, image: Layout) -> Descriptor:
    """Layers as plain tar, one of them twice."""
    content = images.layer([("a", b"b" * 100_000)])
    layer = layout.add(content, LAYER)
    config = layout.add_json(
        {
            "architecture": HERE,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]] * 2},
        },
        CONFIG,
    )
    return layout.add_json(manifest(config, [layer, layer]), MANIFEST)


def without_layers(layout: Layout, image: Layout) -> Descriptor:
    config = {"architecture": HERE, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    return layout.add_json(manifest(layout.add_json(config, CONFIG), []), MANIFEST)


def formatted(layout: Layout, image: Layout) -> Descriptor:
    """A manifest with line breaks, fields that nobody knows, and no media type of its own."""
    old = image.document(image.find())
    for one in (old["config"], *old["layers"]):
        layout.add(image.file(one["digest"]).read_bytes(), one["mediaType"])
    del old["mediaType"]
    content = json.dumps(old | {"x-unknown": [1, None]}, indent=3).encode() + b"\n\n"
    return layout.add(content, MANIFEST)


def several_members(layout: Layout, image: Layout) -> Descriptor:
    """A layer in gzip that has several members, as pigz and stargz write it."""
    content = images.layer([("a", b"b" * 100_000)])
    packed = gzip.compress(content[:50_000], mtime=0) + gzip.compress(content[50_000:], mtime=0)
    config = {
        "architecture": HERE,
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
    }
    layer = layout.add(packed, f"{LAYER}+gzip")
    return layout.add_json(manifest(layout.add_json(config, CONFIG), [layer]), MANIFEST)


SINGLE: dict[str, Make] = {
    "docker-manifest": docker_manifest,
    "uncompressed": uncompressed,
    "without-layers": without_layers,
    "formatted": formatted,
    "several-members": several_members,
}
MANY: dict[str, Make] = {
    "docker-list": docker_list,
    "attested": attested,
    "nested": nested,
    "artifact": artifact,
}


@pytest.fixture
def places(
    sandbox: Sandbox, server: RunningServer, docker_registry: RunningDockerRegistry
) -> Places:
    return Places(sandbox, server.host, docker_registry.host)


@pytest.fixture
def layout(request: pytest.FixtureRequest, sandbox: Sandbox, busybox: Layout) -> Layout:
    if request.param == "zstd":
        return recompressed(busybox, sandbox.folder / "original")
    made = Layout.create(sandbox.folder / "original")
    made.tag((SINGLE | MANY)[request.param](made, busybox), TAG)
    return made


def journey(places: Places, layout: Layout, kinds: Sequence[str]) -> Layout:
    """Copy the image through these Ends, one after the other, and read the last."""
    address = f"oci:{layout.path}:{TAG}"
    for kind in kinds:
        source, address = address, places.new(kind)
        assert places.copy(source, address) == layout.find()["digest"]
    return places.read(address)


@pytest.mark.parametrize("layout", [*SINGLE, "zstd"], indirect=True)
def test_an_image_goes_through_all_ends(places: Places, layout: Layout) -> None:
    read = journey(places, layout, list(KINDS))
    assert read.contents(read.find()) == layout.contents(layout.find())


@pytest.mark.parametrize("layout", MANY, indirect=True)
def test_what_is_no_single_image_goes_through_all_that_hold_it(
    places: Places, layout: Layout
) -> None:
    read = journey(places, layout, [kind for kind in KINDS if kind != "docker-archive"])
    assert read.contents(read.find()) == layout.contents(layout.find())


@pytest.mark.parametrize("layout", [*SINGLE, *MANY, "zstd"], indirect=True)
def test_it_is_valid_and_others_copy_it_the_same(
    places: Places, layout: Layout, repository: str
) -> None:
    sandbox = places.sandbox
    sandbox.run("entrepot", "push", layout.path, f"{repository}:{TAG}")
    sandbox.run("entrepot", "validate", f"{repository}:{TAG}")
    registry = f"reg={places.ours},tls=disabled"
    sandbox.run("regctl", "--host", registry, "image", "copy", f"{repository}:{TAG}",
                f"ocidir://theirs:{TAG}")  # fmt: skip
    theirs = Layout(sandbox.folder / "theirs")
    assert theirs.contents(layout.find()) == layout.contents(layout.find())
    read = places.read(f"oci:theirs:{TAG}")
    assert read.contents(read.find()) == layout.contents(layout.find())


@pytest.mark.parametrize("layout", ["docker-list", "nested", "attested"], indirect=True)
@pytest.mark.parametrize("form", ["oci", "docker"])
def test_what_can_be_converted_is_valid_to_others(
    places: Places, layout: Layout, repository: str, form: str
) -> None:
    sandbox = places.sandbox
    sandbox.run("entrepot", "push", f"--format={form}", layout.path, f"{repository}:{TAG}")
    sandbox.run("crane", "validate", "--fast", "--remote", f"{repository}:{TAG}")
    sandbox.run("entrepot", "validate", f"{repository}:{TAG}")


OCI = ["artifact", "attested", "formatted", "nested", "uncompressed", "without-layers", "zstd"]


@pytest.mark.parametrize("layout", OCI, indirect=True)
def test_what_is_in_the_format_already_is_not_converted(places: Places, layout: Layout) -> None:
    digest = places.copy(f"oci:{layout.path}:{TAG}", places.new("oci"), "--format=oci")
    assert digest == layout.find()["digest"]


@pytest.mark.parametrize("layout", ["docker-manifest", "docker-list"], indirect=True)
def test_dockers_format_stays_dockers(places: Places, layout: Layout) -> None:
    digest = places.copy(f"oci:{layout.path}:{TAG}", places.new("entrepot"), "--format=docker")
    assert digest == layout.find()["digest"]
