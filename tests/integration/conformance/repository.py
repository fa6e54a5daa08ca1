"""A repository as a client sees it: the requests of the distribution-spec, one method each.

Methods that lead somewhere else assert what every client relies on (the status and the
Location); what a test is about is left to the test.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from tests.http_client import Client, HeaderItems, Response, with_query
from tests.integration.conformance.content import OCI_INDEX, OCI_MANIFEST, OCTETS, Content

AS_OCTETS: Final = {"Content-Type": OCTETS}
ACCEPT: Final = (("Accept", OCI_INDEX), ("Accept", OCI_MANIFEST))


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository `name` behind a connection."""

    client: Client
    name: str

    def path(self, *parts: str) -> str:
        """Return a path of this repository."""
        return f"/v2/{self.name}/{'/'.join(parts)}"

    # ── blobs ────────────────────────────────────────────────────────────────────────────────

    def blob(self, digest: str) -> str:
        return self.path("blobs", digest)

    def head_blob(self, digest: str) -> Response:
        return self.client.head(self.blob(digest))

    def get_blob(self, digest: str, headers: HeaderItems = ()) -> Response:
        return self.client.get(self.blob(digest), headers)

    def delete_blob(self, digest: str) -> Response:
        return self.client.delete(self.blob(digest))

    # ── uploads ──────────────────────────────────────────────────────────────────────────────

    def post_upload(
        self, content: bytes | Iterable[bytes] | None = None, /, **parameters: str
    ) -> Response:
        """POST to the uploads; parameters as `digest_algorithm="sha512"`."""
        query = urlencode({key.replace("_", "-"): value for key, value in parameters.items()})
        target = self.path("blobs", "uploads", "") + (f"?{query}" if query else "")
        return self.client.post(target, content, AS_OCTETS if content is not None else {})

    def start_upload(self, **parameters: str) -> str:
        """Open an upload and return its Location."""
        return moved_on(self.post_upload(**parameters))

    def put_chunk(self, location: str, content: bytes, start: int) -> Response:
        """PATCH bytes that are announced to begin at `start`."""
        return self.client.patch(location, content, content_range(content, start))

    def close_upload(self, location: str, digest: str, content: bytes = b"") -> Response:
        """PUT the digest, with the bytes that are left."""
        return self.client.put(with_query(location, {"digest": digest}), content, AS_OCTETS)

    def push(self, blob: Content, way: str = "post+put") -> Response:
        """Push a blob in one of the `WAYS`; return the response that ends it."""
        return WAYS[way](self, blob.content, blob.digest)

    # ── manifests ────────────────────────────────────────────────────────────────────────────

    def manifest(self, reference: str) -> str:
        return self.path("manifests", reference)

    def head_manifest(self, reference: str) -> Response:
        return self.client.head(self.manifest(reference), ACCEPT)

    def get_manifest(self, reference: str) -> Response:
        return self.client.get(self.manifest(reference), ACCEPT)

    def put_manifest(
        self, manifest: Content, reference: str | None = None, tags: Iterable[str] = ()
    ) -> Response:
        """PUT a manifest by tag, or else by its digest; `tags` go along as parameters.

        The body is sent chunked, as Go's clients do.
        """
        query = urlencode([("tag", tag) for tag in tags])
        target = self.manifest(reference or manifest.digest) + (f"?{query}" if query else "")
        headers = {"Content-Type": manifest.media_type}
        return self.client.put(target, [manifest.content], headers)

    def delete_manifest(self, reference: str) -> Response:
        return self.client.delete(self.manifest(reference))

    # ── discovery ────────────────────────────────────────────────────────────────────────────

    def tags(self, query: str = "") -> Response:
        return self.client.get(self.path("tags", "list") + (f"?{query}" if query else ""))

    def referrers(self, digest: str, artifact_type: str | None = None, **more: str) -> Response:
        parameters = ({"artifactType": artifact_type} if artifact_type else {}) | more
        query = urlencode(parameters)
        return self.client.get(self.path("referrers", digest) + (f"?{query}" if query else ""))


def content_range(content: bytes, start: int) -> dict[str, str]:
    """Return the headers of a chunk."""
    return AS_OCTETS | {"Content-Range": f"{start}-{start + len(content) - 1}"}


def moved_on(response: Response) -> str:
    """Return the Location of a 202, where the upload goes on."""
    assert response.status == 202, response
    location = response.header("Location")
    assert location, response
    return location


def as_go_sends(content: bytes) -> bytes | list[bytes]:
    """Return a body as Go's client frames it: chunked where the length is 0."""
    return content or []


def _post_only(repository: Repository, content: bytes, digest: str) -> Response:
    return repository.post_upload(as_go_sends(content), digest=digest)


def _post_put(repository: Repository, content: bytes, digest: str) -> Response:
    location = with_query(repository.start_upload(), {"digest": digest})
    return repository.client.put(location, as_go_sends(content), AS_OCTETS)


def _chunks(content: bytes) -> list[tuple[int, bytes]]:
    """Cut content into three chunks at most, each with its offset; none is below 1 KiB."""
    size = max(1024, len(content) // 3 + 1)
    return [(start, content[start : start + size]) for start in range(0, len(content), size)]


def _chunked(repository: Repository, content: bytes, digest: str) -> Response:
    location = repository.start_upload()
    for start, chunk in _chunks(content):
        location = moved_on(repository.put_chunk(location, chunk, start))
    return repository.close_upload(location, digest)


def _chunked_last_in_put(repository: Repository, content: bytes, digest: str) -> Response:
    location = repository.start_upload()
    *chunks, (last_start, last) = _chunks(content) or [(0, b"")]
    for start, chunk in chunks:
        location = moved_on(repository.put_chunk(location, chunk, start))
    headers = content_range(last, last_start) if last else AS_OCTETS
    return repository.client.put(with_query(location, {"digest": digest}), last, headers)


def _streamed(repository: Repository, content: bytes, digest: str) -> Response:
    location = repository.start_upload()
    location = moved_on(repository.client.patch(location, [content], AS_OCTETS))
    return repository.close_upload(location, digest)


WAYS: Final[dict[str, Callable[[Repository, bytes, str], Response]]] = {
    "post only": _post_only,
    "post+put": _post_put,
    "chunked": _chunked,
    "chunked, the last in the PUT": _chunked_last_in_put,
    "streamed": _streamed,
}
"""Every way to push a blob: `way(repository, bytes, digest)` returns the last response."""
