"""Pulling an image through a mirror, every byte of it compared."""

from entrepot.testing import MockImage, MockRegistry
from tests.mirrors import UPSTREAM, RunningMirror


def assert_pulls(
    mirror: RunningMirror,
    image: MockImage,
    registry: MockRegistry,
    name: str,
    upstream: str = UPSTREAM,
) -> None:
    """Pull an image whole by its tag `1`; every byte is that of the registry."""
    assert mirror.pull(name, "1", upstream=upstream).body == image.manifest
    for blob in image.blobs:
        assert mirror.blob(name, blob.digest, upstream=upstream).body == registry.blob(blob.digest)
