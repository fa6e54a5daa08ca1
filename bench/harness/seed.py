"""Put an image into a registry through its API, and read back that it is there."""

import hashlib
from http.client import HTTPConnection

from bench.harness import clients
from bench.harness.clients import Push, upload_target
from bench.harness.content import MANIFEST_TYPE, Image, digest_of
from bench.harness.exchange import TIMEOUT_SECONDS, MeasurementFailed
from bench.harness.servers import Server

_BLOCK = 1024 * 1024


def push(server: Server, repository: str, image: Image, tag: str) -> None:
    """Push an image under a tag. Raise MeasurementFailed if a part of it is refused."""
    clients.run([Push(server.address, repository, [image.large])], lambda: None)
    connection = HTTPConnection(*server.address, timeout=TIMEOUT_SECONDS)
    for blob in (image.config, *image.layers):
        push_blob(connection, repository, blob)
    push_manifest(connection, repository, tag, image.manifest)
    connection.close()


def push_blob(connection: HTTPConnection, repository: str, blob: bytes) -> None:
    """Push a small blob. Raise MeasurementFailed if it is refused."""
    opened = _exchange(connection, "POST", f"/v2/{repository}/blobs/uploads/", b"", 202)
    target = upload_target(opened["location"], digest_of(blob))
    _exchange(connection, "PUT", target, blob, 201)


def push_manifest(connection: HTTPConnection, repository: str, tag: str, manifest: bytes) -> None:
    """Push a manifest under a tag. Raise MeasurementFailed if it is refused."""
    _exchange(connection, "PUT", f"/v2/{repository}/manifests/{tag}", manifest, 201)


def read_back(server: Server, repository: str, image: Image, tag: str) -> None:
    """Get every part of an image. Raise MeasurementFailed if one is not what was pushed."""
    manifest = digest_of(image.manifest)
    blobs = [image.large.digest, *(digest_of(blob) for blob in (image.config, *image.layers))]
    wanted = {f"/v2/{repository}/manifests/{reference}": manifest for reference in (tag, manifest)}
    wanted |= {f"/v2/{repository}/blobs/{digest}": digest for digest in blobs}
    connection = HTTPConnection(*server.address, timeout=TIMEOUT_SECONDS)
    for target, digest in wanted.items():
        connection.request("GET", target, headers={"Accept": MANIFEST_TYPE})
        response, whole = connection.getresponse(), hashlib.sha256()
        while block := response.read(_BLOCK):
            whole.update(block)
        if response.status != 200 or f"sha256:{whole.hexdigest()}" != digest:
            raise MeasurementFailed(f"{server.name}: GET {target}: {response.status}, or altered")
    connection.close()


def _exchange(
    connection: HTTPConnection, method: str, target: str, content: bytes, status: int
) -> dict[str, str]:
    """Send content and return the answer's headers by lower-case name."""
    manifest = "/manifests/" in target
    media_type = MANIFEST_TYPE if manifest else "application/octet-stream"
    connection.request(method, target, content, {"Content-Type": media_type})
    response = connection.getresponse()
    told = response.read(2000)
    if response.status != status:
        raise MeasurementFailed(f"{method} {target}: {response.status} {told!r}")
    return {name.lower(): value for name, value in response.getheaders()}
