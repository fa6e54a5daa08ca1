"""Rows of the database as the values they stand for."""

from functools import lru_cache

from entrepot.adapters.metadata_stores.database import Row
from entrepot.oci.digest import Digest
from entrepot.oci.reference import RepositoryName
from entrepot.ports.metadata_store import ManifestRecord, UploadSession


@lru_cache(maxsize=1024)
def digest(text: str) -> Digest:
    """Return a digest that was checked before it was stored."""
    algorithm, _, encoded = text.partition(":")
    return Digest(algorithm, encoded)


def optional_digest(text: str | None) -> Digest | None:
    return None if text is None else digest(text)


def manifest_record(row: Row) -> ManifestRecord:
    """Read (digest, media_type, size, artifact_type, subject); annotations are left empty."""
    named, media_type, size, artifact_type, subject = row
    return ManifestRecord(digest(named), media_type, size, artifact_type, optional_digest(subject))


def upload_session(row: Row) -> UploadSession:
    """Read (id, repository, algorithm, actor, started_at, touched_at)."""
    identifier, repository, *rest = row
    return UploadSession(identifier, RepositoryName(repository), *rest)
