"""Routes: the paths under `/v2/`, read from the right and built again.

Reading from the right lets a repository be named anything the grammar allows, also
`blobs/uploads` or `a/manifests/tags`: the last segments decide, the rest is the name.
Paths are taken as received. A name must not be percent-encoded (what one hop decodes the next
must not see differently); a digest, tag or session may be, as some clients encode the colon.
Which method a route allows is the face's matter.

Source: distribution-spec, "Endpoints" (end-1 … end-14); `_catalog` is Docker's.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from entrepot.oci.digest import Digest
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.protocol.upload import parse_session

BASE_PATH: Final = "/v2/"
CATALOG_PATH: Final = "/v2/_catalog"


@dataclass(frozen=True, slots=True)
class Base:
    """`/v2/`: does this server speak the protocol? (end-1)"""


@dataclass(frozen=True, slots=True)
class Catalog:
    """`/v2/_catalog`: all repositories."""


@dataclass(frozen=True, slots=True)
class TagsList:
    """`/v2/<name>/tags/list` (end-8)"""

    name: RepositoryName


@dataclass(frozen=True, slots=True)
class Blob:
    """`/v2/<name>/blobs/<digest>` (end-2, end-10)"""

    name: RepositoryName
    digest: Digest


@dataclass(frozen=True, slots=True)
class StartUpload:
    """`/v2/<name>/blobs/uploads/` (end-4, end-11); the last slash may be missing."""

    name: RepositoryName


@dataclass(frozen=True, slots=True)
class Upload:
    """`/v2/<name>/blobs/uploads/<session>` (end-5, end-6, end-13, end-14)"""

    name: RepositoryName
    session: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`/v2/<name>/manifests/<tag or digest>` (end-3, end-7, end-9)"""

    name: RepositoryName
    reference: Tag | Digest


@dataclass(frozen=True, slots=True)
class Referrers:
    """`/v2/<name>/referrers/<digest>` (end-12)"""

    name: RepositoryName
    digest: Digest


Route = Base | Catalog | TagsList | Blob | StartUpload | Upload | Manifest | Referrers

# Refusals are exceptions and never cached, so that only valid names are.
_name = lru_cache(maxsize=4096)(RepositoryName.parse)

_REMEMBERED_LENGTH: Final = 1024
"""How long a path may be, in characters, to be remembered. What clients ask for fits; nobody can
fill the cache with long paths that name nothing."""


def parse(path: str) -> Route | None:
    """Read a raw path without its query; None if it is no route of this API.

    Raise NameInvalid, DigestInvalid, TagInvalid or BlobUploadUnknown for the part that is
    malformed; a reference with a colon is a digest, else a tag.
    """
    return _remembered(path) if len(path) <= _REMEMBERED_LENGTH else _parse(path)


def _parse(path: str) -> Route | None:
    if not path.startswith("/v2/"):
        return Base() if path == "/v2" else None
    head, _, last = path.rpartition("/")
    head, _, kind = head.rpartition("/")
    if kind == "manifests":
        return Manifest(_name(head[4:]), _reference(_decoded(last)))
    if kind == "blobs":
        if last == "uploads":
            return StartUpload(_name(head[4:]))
        return Blob(_name(head[4:]), Digest.parse(_decoded(last)))
    if kind == "uploads" and head.endswith("/blobs"):
        name = _name(head[4:-6])
        return Upload(name, parse_session(_decoded(last))) if last else StartUpload(name)
    if kind == "tags" and last == "list":
        return TagsList(_name(head[4:]))
    if kind == "referrers":
        return Referrers(_name(head[4:]), Digest.parse(_decoded(last)))
    if path == BASE_PATH:
        return Base()
    return Catalog() if path == CATALOG_PATH else None


_remembered = lru_cache(maxsize=1024)(_parse)


def _decoded(segment: str) -> str:
    return unquote(segment) if "%" in segment else segment


def _reference(text: str) -> Tag | Digest:
    return Digest.parse(text) if ":" in text else Tag.parse(text)


def blob_path(name: RepositoryName, digest: Digest) -> str:
    """Return the path of a blob."""
    return f"/v2/{name}/blobs/{digest}"


def manifest_path(name: RepositoryName, reference: Tag | Digest) -> str:
    """Return the path of a manifest by tag or digest."""
    return f"/v2/{name}/manifests/{reference}"


def start_upload_path(name: RepositoryName) -> str:
    """Return the path that uploads of a repository are started at."""
    return f"/v2/{name}/blobs/uploads/"


def upload_path(name: RepositoryName, session: str) -> str:
    """Return the path of an open upload."""
    return f"/v2/{name}/blobs/uploads/{session}"


def tags_path(name: RepositoryName) -> str:
    """Return the path of a repository's tags."""
    return f"/v2/{name}/tags/list"


def referrers_path(name: RepositoryName, digest: Digest) -> str:
    """Return the path of a manifest's referrers."""
    return f"/v2/{name}/referrers/{digest}"
