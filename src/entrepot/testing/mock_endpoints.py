"""What a correct registry answers: manifests, blobs, tags, referrers, the catalog, and the object
store that blobs may be redirected to. Uploads are in `mock_uploads`.

Source: distribution-spec, "Endpoints" (end-1 … end-14).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid, RangeInvalid, RegistryError
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.protocol import routes
from entrepot.protocol.pagination import parse_page, render_next_link
from entrepot.protocol.ranges import parse_range, render_content_range, render_unsatisfied_range
from entrepot.protocol.referrers import parse_artifact_type, render_referrers
from entrepot.testing.mock_exchange import Exchange, Reply, Request
from entrepot.testing.mock_store import MockStore, StoredManifest
from entrepot.testing.mock_uploads import Uploads

_OBJECT: Final = re.compile(r"/objects/(?P<algorithm>sha256|sha512)/(?P<hex>[0-9a-f]+)")
_NOT_FOUND: Final = frozenset(
    {"BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UPLOAD_UNKNOWN"}
)


@dataclass(slots=True)
class Abilities:
    """What the registry can do; a test may change any of it at any time."""

    referrers: bool = True
    """Off: `/referrers/` is 404 and no OCI-Subject is sent, so clients use the tag."""
    catalog: bool = True
    delete: bool = True
    delete_tags: bool = True
    mount: bool = True
    single_post: bool = True
    """POST with `digest` stores the blob at once; off: it starts an upload."""
    relative_locations: bool = False
    changing_locations: bool = True
    """Each answer of an upload names another Location, and only the last one is right."""
    chunk_minimum: int | None = None
    """Bytes; sent as OCI-Chunk-Min-Length, and smaller chunks but the last are refused."""
    require_content: bool = True
    """A manifest whose blobs or children are missing is refused."""
    page_size: int = 100
    """Entries of a page of tags, names and referrers, and the most a client may ask for."""
    refuse_authorization: bool = False
    """As an object store with signed URLs does: 400 for requests with Authorization."""


class Endpoints:
    """The routes of one registry over its content."""

    def __init__(self, store: MockStore, abilities: Abilities) -> None:
        self.store = store
        self.abilities = abilities
        self.uploads = Uploads(store, abilities)

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer a request."""
        request = exchange.request
        found = _OBJECT.fullmatch(request.path)
        if self.abilities.refuse_authorization and request.header("authorization"):
            text = b"<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed"
            return Reply.of(400, text, {"Content-Type": "application/xml"})
        try:
            if found is not None:
                return self._object(request, Digest(found["algorithm"], found["hex"]))
            reply = await self._route(exchange, routes.parse(request.path))
        except RegistryError as error:
            reply = Reply.of_error(404 if error.code in _NOT_FOUND else 400, error.code)
        return reply.but("Docker-Distribution-API-Version", "registry/2.0")

    async def _route(self, exchange: Exchange, route: routes.Route | None) -> Reply:
        request = exchange.request
        reading = request.method in ("GET", "HEAD")
        match route:
            case routes.Base() if reading:
                return Reply.of_json(200, {})
            case routes.Catalog() if reading and self.abilities.catalog:
                names = self.store.names()
                return self._list(request, routes.CATALOG_PATH, "repositories", names)
            case routes.TagsList(name) if reading:
                if name not in self.store.repositories:
                    return Reply.of_error(404, "NAME_UNKNOWN")
                tags = self.store.tags(name)
                return self._list(request, routes.tags_path(name), "tags", tags, {"name": name})
            case routes.Referrers(name, digest) if reading and self.abilities.referrers:
                return self._referrers(request, name, digest)
            case routes.Manifest(name, reference) if reading:
                manifest = self.store.find_manifest(name, reference)
                if manifest is None:
                    return Reply.of_error(404, "MANIFEST_UNKNOWN")
                return _manifest(manifest)
            case routes.Manifest(name, reference) if request.method == "PUT":
                content = await exchange.read_all()
                return self._put_manifest(request, name, reference, content)
            case routes.Manifest(name, reference) if request.method == "DELETE":
                return self._delete_manifest(name, reference)
            case routes.Blob(name, digest) if reading:
                return self._blob(request, name, digest)
            case routes.Blob(name, digest) if request.method == "DELETE" and self.abilities.delete:
                gone = self.store.unlink(name, digest)
                return Reply.of(202) if gone else Reply.of_error(404, "BLOB_UNKNOWN")
            case routes.StartUpload(name) if request.method == "POST":
                return await self.uploads.start(exchange, name)
            case routes.Upload(name, session):
                return await self.uploads.answer(exchange, name, session)
            case None | routes.Catalog() | routes.Referrers() if reading:
                return Reply.of(404, b"404 page not found\n", {"Content-Type": "text/plain"})
        return Reply.of_error(405, "UNSUPPORTED")

    def _blob(self, request: Request, name: str, digest: Digest) -> Reply:
        if not self.store.is_linked(name, digest):
            return Reply.of_error(404, "BLOB_UNKNOWN")
        reply = self._object(request, digest)
        return reply.but("Docker-Content-Digest", str(digest))

    def _object(self, request: Request, digest: Digest) -> Reply:
        content = self.store.contents.get(digest)
        if content is None or request.method not in ("GET", "HEAD"):
            return Reply.of(404, b"<Error><Code>NoSuchKey</Code></Error>")
        headers = (
            ("Content-Type", "application/octet-stream"),
            ("Accept-Ranges", "bytes"),
            ("ETag", f'"{digest}"'),
        )
        try:
            ranges = parse_range(request.header("range"), content.size)
        except RangeInvalid:
            unsatisfied = {"Content-Range": render_unsatisfied_range(content.size)}
            return Reply.of(416, b"", unsatisfied)
        if request.method == "HEAD" or ranges is None or len(ranges) > 1:
            return Reply.of_content(200, content, 0, content.size, headers)
        (wanted,) = ranges
        told = ("Content-Range", render_content_range(wanted, content.size))
        return Reply.of_content(206, content, wanted.offset, wanted.length, (*headers, told))

    def _put_manifest(
        self, request: Request, name: RepositoryName, reference: Tag | Digest, content: bytes
    ) -> Reply:
        algorithm = reference.algorithm if isinstance(reference, Digest) else "sha256"
        digest = Digest.of(content, algorithm)
        if isinstance(reference, Digest) and reference != digest:
            raise DigestInvalid("the manifest has another digest")
        media_type = request.header("content-type") or media_types.OCI_MANIFEST
        manifest = StoredManifest(digest, content, media_type)
        missing = self.store.missing(name, manifest) if self.abilities.require_content else []
        if missing:
            return Reply.of_error(404, "MANIFEST_BLOB_UNKNOWN", f"{missing[0]} is not here")
        self.store.put_manifest(name, manifest)
        if isinstance(reference, Tag):
            self.store.tag(name, reference, digest)
        location = routes.manifest_path(name, reference)
        headers = {"Location": location, "Docker-Content-Digest": str(digest)}
        subject = manifest.subject
        if subject is not None and self.abilities.referrers:
            headers["OCI-Subject"] = str(subject)
        return Reply.of(201, b"", headers)

    def _delete_manifest(self, name: str, reference: Tag | Digest) -> Reply:
        tag = isinstance(reference, Tag)
        if not self.abilities.delete or (tag and not self.abilities.delete_tags):
            return Reply.of_error(405, "UNSUPPORTED")
        gone = self.store.delete_manifest(name, reference)
        return Reply.of(202) if gone else Reply.of_error(404, "MANIFEST_UNKNOWN")

    def _referrers(self, request: Request, name: RepositoryName, digest: Digest) -> Reply:
        wanted = parse_artifact_type(request.query)
        found = self.store.referrers(name, digest)
        headers = {"Content-Type": media_types.OCI_INDEX}
        kept: list[tuple[str, str]] = []
        if wanted is not None:
            found = [one for one in found if one.artifact_type == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
            kept = [("artifactType", wanted)]
        size = self.abilities.page_size
        page = parse_page(request.query, default=size, cap=size)
        behind = [one for one in found if page.last is None or str(one.digest) > page.last]
        shown: Sequence[Descriptor] = behind[: page.limit]
        if len(behind) > len(shown) and shown:
            path = routes.referrers_path(name, digest)
            headers["Link"] = render_next_link(path, page, str(shown[-1].digest), kept)
        return Reply.of(200, render_referrers(shown), headers)

    def _list(
        self,
        request: Request,
        path: str,
        key: str,
        entries: Sequence[str],
        more: dict[str, str] | None = None,
    ) -> Reply:
        page = parse_page(request.query, default=self.abilities.page_size, cap=10**6)
        behind = [one for one in entries if page.last is None or one > page.last]
        shown = behind[: min(page.limit, self.abilities.page_size)]
        headers = {"Content-Type": "application/json"}
        if len(behind) > len(shown) and shown:
            headers["Link"] = render_next_link(path, page, shown[-1])
        return Reply.of(200, json.dumps({**(more or {}), key: shown}).encode(), headers)


def _manifest(manifest: StoredManifest) -> Reply:
    headers = {
        "Content-Type": manifest.media_type,
        "Docker-Content-Digest": str(manifest.digest),
        "ETag": f'"{manifest.digest}"',
    }
    return Reply.of(200, manifest.content, headers)
