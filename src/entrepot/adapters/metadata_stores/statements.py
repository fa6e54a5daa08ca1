"""Every statement, once, as SQLAlchemy Core expressions over `schema`.

`compile` turns them into the texts of both engines in `sql`, which is what runs. A statement is
an upper-case name here; its parameters are named. A literal that a partial index depends on is
written as such, because such an index serves no parameter.

Row locks matter to PostgreSQL; SQLite has one writer and drops them. Every transaction takes
them in this order, each kind sorted: repository, content, manifest, tags, blob links. Blob
links come last because all pushes that share a layer meet there; until then a push only holds
them, so that they cannot be deleted, which no other push has to wait for.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Insert,
    ScalarSelect,
    Text,
    Update,
    bindparam,
    case,
    column,
    delete,
    func,
    literal_column,
    select,
    table,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from entrepot.adapters.metadata_stores.elements import elements
from entrepot.adapters.metadata_stores.schema import (
    blob_link,
    content,
    event,
    manifest,
    manifest_reference,
    repository,
    tag,
    tag_history,
    upload,
)

LIMIT: Final = bindparam("limit", type_=BigInteger)
ZERO: Final = literal_column("0", BigInteger)
ONE: Final = literal_column("1", BigInteger)
A_BLOB: Final = literal_column("'blob'", Text)
OPTIONAL: Final = literal_column("'optional'", Text)


def repository_named() -> ScalarSelect[int]:
    """Return the id of the repository whose name is the parameter `repository`."""
    named = select(repository.c.id).where(repository.c.name == bindparam("repository"))
    return named.scalar_subquery()


# The schema's version, kept by alembic

_version = table("alembic_version", column("version_num", Text))

FIND_VERSION = select(_version.c.version_num)

# Repositories

FIND_REPOSITORY = select(repository.c.id).where(repository.c.name == bindparam("name"))

# These two exclude each other, but neither the lock that a foreign key takes.
HOLD_REPOSITORY = FIND_REPOSITORY.with_for_update(read=True)

LOCK_REPOSITORY = FIND_REPOSITORY.with_for_update(key_share=True)

INSERT_REPOSITORY = (
    insert(repository)
    .values(name=bindparam("name"), created_at=bindparam("at"))
    .on_conflict_do_nothing(index_elements=[repository.c.name])
    .returning(repository.c.id)
)

LIST_REPOSITORIES = (
    select(repository.c.name)
    .where(repository.c.name > bindparam("after"))
    .order_by(repository.c.name)
    .limit(LIMIT)
)

# Content

LINK_CONTENT = (
    insert(content)
    .values(
        digest=bindparam("digest"), size=bindparam("size"), links=ONE, created_at=bindparam("at")
    )
    .on_conflict_do_update(index_elements=[content.c.digest], set_={"links": content.c.links + ONE})
    .returning(content.c.links)
)

UNLINK_CONTENT = (
    update(content)
    .where(content.c.digest == bindparam("given_digest"))
    .values(links=content.c.links - ONE)
)

# Blob links

FIND_BLOB_LINK = (
    select(content.c.size, blob_link.c.leased_until, blob_link.c.references)
    .select_from(
        repository.join(blob_link, blob_link.c.repository_id == repository.c.id).join(
            content, content.c.digest == blob_link.c.digest
        )
    )
    .where(repository.c.name == bindparam("repository"), blob_link.c.digest == bindparam("digest"))
)

# Only an optional reference can have been there before the blob.
_OPTIONAL_REFERENCES = (
    select(func.count())
    .where(
        manifest_reference.c.repository_id == bindparam("repository"),
        manifest_reference.c.child == bindparam("digest"),
        manifest_reference.c.kind == OPTIONAL,
    )
    .scalar_subquery()
)

INSERT_BLOB_LINK = (
    insert(blob_link)
    .values(
        repository_id=bindparam("repository"),
        digest=bindparam("digest"),
        references=_OPTIONAL_REFERENCES,
        leased_until=bindparam("lease"),
    )
    .on_conflict_do_nothing(index_elements=[blob_link.c.repository_id, blob_link.c.digest])
    .returning(blob_link.c.digest)
)


def _extend_lease(home: BindParameter[int] | ScalarSelect[int]) -> Update:
    return (
        update(blob_link)
        .where(
            blob_link.c.repository_id == home,
            blob_link.c.digest == bindparam("given_digest"),
        )
        .values(
            leased_until=case(
                (blob_link.c.leased_until < bindparam("lease"), bindparam("lease")),
                else_=blob_link.c.leased_until,
            )
        )
    )


EXTEND_BLOB_LINK = _extend_lease(bindparam("repository"))
RENEW_BLOB_LINK = _extend_lease(repository_named())

DELETE_UNREFERENCED_BLOB_LINK = delete(blob_link).where(
    blob_link.c.repository_id == repository_named(),
    blob_link.c.digest == bindparam("digest"),
    blob_link.c.references == ZERO,
)

LIST_BLOB_HOLDERS = (
    select(repository.c.name)
    .select_from(blob_link.join(repository, repository.c.id == blob_link.c.repository_id))
    .where(blob_link.c.digest == bindparam("digest"))
    .order_by(blob_link.c.repository_id)
    .limit(LIMIT)
)

_NEEDED_BLOB_LINKS = (
    select(blob_link.c.digest)
    .where(
        blob_link.c.repository_id == bindparam("repository"),
        blob_link.c.digest.in_(select(elements("digests").c.value)),
    )
    .order_by(blob_link.c.digest)
)

LIST_PRESENT_BLOBS = _NEEDED_BLOB_LINKS

HOLD_BLOB_LINKS = _NEEDED_BLOB_LINKS.with_for_update(read=True, key_share=True)


def _count_references(change: ColumnElement[int]) -> Update:
    return (
        update(blob_link)
        .where(
            blob_link.c.repository_id == bindparam("repository"),
            blob_link.c.digest.in_(_NEEDED_BLOB_LINKS.with_for_update(key_share=True)),
        )
        .values(references=change)
    )


ADD_REFERENCES = _count_references(blob_link.c.references + ONE)
DROP_REFERENCES = _count_references(blob_link.c.references - ONE)

# Manifests

_RECORD = (
    manifest.c.digest,
    manifest.c.media_type,
    manifest.c.size,
    manifest.c.artifact_type,
    manifest.c.subject,
)
_THE_MANIFEST = (
    manifest.c.repository_id == bindparam("repository"),
    manifest.c.digest == bindparam("digest"),
)

FIND_MANIFEST_BY_DIGEST = (
    select(*_RECORD)
    .select_from(repository.join(manifest, manifest.c.repository_id == repository.c.id))
    .where(repository.c.name == bindparam("repository"), manifest.c.digest == bindparam("digest"))
)

FIND_MANIFEST_BY_TAG = (
    select(*_RECORD)
    .select_from(
        repository.join(tag, tag.c.repository_id == repository.c.id).join(
            manifest,
            (manifest.c.repository_id == tag.c.repository_id) & (manifest.c.digest == tag.c.digest),
        )
    )
    .where(repository.c.name == bindparam("repository"), tag.c.name == bindparam("tag"))
)

_THESE_MANIFESTS = manifest.c.digest.in_(select(elements("digests").c.value))

LIST_PRESENT_MANIFESTS = select(manifest.c.digest).where(
    manifest.c.repository_id == bindparam("repository"), _THESE_MANIFESTS
)

LIST_MANIFESTS = select(*_RECORD).where(
    manifest.c.repository_id == repository_named(), _THESE_MANIFESTS
)

LIST_ANNOTATIONS = select(manifest.c.digest, manifest.c.annotations).where(
    manifest.c.repository_id == repository_named(), _THESE_MANIFESTS
)

HOLD_MANIFEST = (
    select(manifest.c.digest).where(*_THE_MANIFEST).with_for_update(read=True, key_share=True)
)

LOCK_MANIFEST = select(manifest.c.digest).where(*_THE_MANIFEST).with_for_update()

INSERT_MANIFEST = (
    insert(manifest)
    .values(
        repository_id=bindparam("repository"),
        digest=bindparam("digest"),
        media_type=bindparam("media_type"),
        artifact_type=bindparam("artifact_type"),
        size=bindparam("size"),
        subject=bindparam("subject"),
        pushed_at=bindparam("at"),
        annotations=bindparam("annotations"),
    )
    .on_conflict_do_nothing(index_elements=[manifest.c.repository_id, manifest.c.digest])
    .returning(manifest.c.digest)
)

DELETE_MANIFEST = delete(manifest).where(*_THE_MANIFEST)


def _insert_references() -> Insert:
    columns = manifest_reference.c
    rows = select(
        bindparam("repository", type_=columns.repository_id.type),
        bindparam("manifest", type_=columns.manifest.type),
        bindparam("kind", type_=columns.kind.type),
        elements("digests").c.value,
    )
    return insert(manifest_reference).from_select(
        [columns.repository_id, columns.manifest, columns.kind, columns.child], rows
    )


INSERT_MANIFEST_REFERENCES = _insert_references()

LIST_MANIFEST_BLOBS = select(manifest_reference.c.child).where(
    manifest_reference.c.repository_id == bindparam("repository"),
    manifest_reference.c.manifest == bindparam("manifest"),
    manifest_reference.c.kind.in_([A_BLOB, OPTIONAL]),
)

DELETE_MANIFEST_REFERENCES = delete(manifest_reference).where(
    manifest_reference.c.repository_id == bindparam("repository"),
    manifest_reference.c.manifest == bindparam("manifest"),
)

LIST_REFERRERS = (
    select(*_RECORD)
    .where(
        manifest.c.repository_id == repository_named(),
        manifest.c.subject == bindparam("subject"),
        manifest.c.digest > bindparam("after"),
    )
    .order_by(manifest.c.digest)
    .limit(LIMIT)
)

LIST_REFERRERS_OF_TYPE = LIST_REFERRERS.where(
    manifest.c.artifact_type == bindparam("artifact_type")
)

# Tags

_NEW_TAG = insert(tag).values(
    repository_id=bindparam("repository"),
    name=bindparam("name"),
    digest=bindparam("digest"),
    set_at=bindparam("at"),
)

SET_TAG = _NEW_TAG.on_conflict_do_update(
    index_elements=[tag.c.repository_id, tag.c.name],
    set_={"digest": _NEW_TAG.excluded.digest, "set_at": _NEW_TAG.excluded.set_at},
    where=tag.c.digest != _NEW_TAG.excluded.digest,
).returning(tag.c.name)

LIST_TAGS = (
    select(tag.c.name)
    .where(tag.c.repository_id == repository_named(), tag.c.name > bindparam("after"))
    .order_by(tag.c.name)
    .limit(LIMIT)
)

DELETE_TAG = (
    delete(tag)
    .where(tag.c.repository_id == bindparam("repository"), tag.c.name == bindparam("name"))
    .returning(tag.c.digest)
)

_TAGS_OF_MANIFEST = (
    select(tag.c.name)
    .where(tag.c.repository_id == bindparam("repository"), tag.c.digest == bindparam("digest"))
    .order_by(tag.c.name)
    .with_for_update()
)

DELETE_TAGS_OF_MANIFEST = (
    delete(tag)
    .where(tag.c.repository_id == bindparam("repository"), tag.c.name.in_(_TAGS_OF_MANIFEST))
    .returning(tag.c.name)
)

INSERT_TAG_CHANGE = (
    insert(tag_history)
    .values(
        repository_id=bindparam("repository"),
        name=bindparam("name"),
        digest=bindparam("digest"),
        at=bindparam("at"),
    )
    .inline()
)

LIST_TAG_CHANGES = (
    select(tag_history.c.digest, tag_history.c.at)
    .where(
        tag_history.c.repository_id == repository_named(),
        tag_history.c.name == bindparam("name"),
    )
    .order_by(tag_history.c.id.desc())
    .limit(LIMIT)
)

# Uploads

_SESSION = (
    upload.c.id,
    upload.c.repository,
    upload.c.algorithm,
    upload.c.actor,
    upload.c.started_at,
    upload.c.touched_at,
)

INSERT_UPLOAD = insert(upload).values({each: bindparam(each.name) for each in _SESSION})

FIND_UPLOAD = select(*_SESSION).where(upload.c.id == bindparam("id"))

TOUCH_UPLOAD = (
    update(upload)
    .where(upload.c.id == bindparam("upload"), upload.c.touched_at < bindparam("at"))
    .values(touched_at=bindparam("at"))
)

DELETE_UPLOAD = delete(upload).where(upload.c.id == bindparam("id"))

LIST_IDLE_UPLOADS = (
    select(*_SESSION)
    .where(upload.c.touched_at < bindparam("before"))
    .order_by(upload.c.touched_at)
    .limit(LIMIT)
)

# The outbox

_EVENT = (
    event.c.kind,
    event.c.repository,
    event.c.digest,
    event.c.tag,
    event.c.actor,
    event.c.at,
)

INSERT_EVENT = insert(event).values({each: bindparam(each.name) for each in _EVENT}).inline()

LIST_EVENTS = select(event.c.id, *_EVENT).order_by(event.c.id).limit(LIMIT)

DELETE_EVENTS = delete(event).where(event.c.id.in_(select(elements("ids", BigInteger).c.value)))

EXPIRE_EVENTS = delete(event).where(
    event.c.id.in_(
        select(event.c.id).where(event.c.at < bindparam("before")).order_by(event.c.at).limit(LIMIT)
    )
)
