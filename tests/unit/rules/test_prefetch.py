"""What is fetched beforehand (CA-05)."""

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import Index, Manifest
from entrepot.oci.platform import Platform
from entrepot.rules.platform_choice import ATTESTED_KIND
from entrepot.rules.prefetch import to_prefetch

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def blob(content: str, media_type: str = media_types.OCI_LAYER_GZIP) -> Descriptor:
    return Descriptor(media_type, Digest.of(content.encode()), len(content))


def child(
    platform: Platform | None,
    media_type: str = media_types.OCI_MANIFEST,
    annotations: dict[str, str] | None = None,
) -> Descriptor:
    content = f"{platform} {annotations}".encode()
    return Descriptor(
        media_type, Digest.of(content), len(content), annotations or {}, platform=platform
    )


def manifest(config: Descriptor, *layers: Descriptor) -> Manifest:
    return Manifest(b"{}", media_types.OCI_MANIFEST, config, layers, None, None, {})


def index(*children: Descriptor) -> Index:
    return Index(b"{}", media_types.OCI_INDEX, children, None, None, {})


def test_config_and_layers_in_order_and_each_once() -> None:
    config, first, second = blob("{}", media_types.OCI_CONFIG), blob("first"), blob("second")
    pulled = manifest(config, first, second, first)
    assert to_prefetch(pulled, None) == (config, first, second)


def test_what_no_registry_holds_is_left_where_it_is() -> None:
    config, layer = blob("{}", media_types.OCI_CONFIG), blob("layer")
    foreign = blob("windows", media_types.DOCKER_FOREIGN_LAYER_GZIP)
    assert to_prefetch(manifest(config, foreign, layer), AMD64) == (config, layer)


def test_of_an_index_the_image_for_the_platform() -> None:
    pulled = index(child(ARM64), child(AMD64))
    assert to_prefetch(pulled, AMD64) == (child(AMD64),)


def test_of_an_index_nothing_where_no_platform_fits_or_is_asked_for() -> None:
    pulled = index(child(ARM64))
    assert to_prefetch(pulled, AMD64) == ()
    assert to_prefetch(pulled, None) == ()


def test_an_attestation_is_no_image() -> None:
    about = {ATTESTED_KIND: "attestation-manifest"}
    unknown = child(Platform("unknown", "unknown"), annotations=about)
    dressed_up = child(AMD64, annotations=about)
    assert to_prefetch(index(dressed_up, unknown), AMD64) == ()
    assert to_prefetch(index(dressed_up, unknown), Platform("unknown", "unknown")) == ()
    assert to_prefetch(index(dressed_up, child(AMD64)), AMD64) == (child(AMD64),)


def test_a_layer_in_an_index_is_not_taken_for_a_manifest() -> None:
    layer = child(AMD64, media_types.OCI_LAYER_GZIP)
    assert to_prefetch(index(layer), AMD64) == ()
