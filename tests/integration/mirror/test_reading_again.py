"""What has just been pulled is a hit at once (CA-01): the upstream is not asked about it again."""

from entrepot.testing import MockRegistry
from tests.integration.mirror.conftest import StartMirror

NAME = "team/app"


def test_a_blob_read_again_at_once_asks_nobody(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    mirror = start_mirror(registry, upstream={"probe_interval": '"0s"'})
    for number in range(60):
        blob = registry.add_blob(NAME, 1000, seed=str(number))
        path = f"/v2/hub.test/{NAME}/blobs/{blob.digest}"
        with mirror.client() as client:
            assert client.get(path).status == 200
            assert client.get(path).status == 200
    assert registry.count("GET", "*/blobs/*") == 60
    assert registry.count("HEAD", "*/blobs/*") == 0
