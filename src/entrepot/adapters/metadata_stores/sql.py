"""Every statement as text. Written by `compile` from `statements`; do not edit."""

from typing import Final

from entrepot.adapters.metadata_stores.database import Statement

# fmt: off
# ruff: noqa: E501

FIND_VERSION: Final = Statement(
    sqlite="""
SELECT alembic_version.version_num
FROM alembic_version
""",
    postgresql="""
SELECT alembic_version.version_num
FROM alembic_version
""",
)

FIND_REPOSITORY: Final = Statement(
    sqlite="""
SELECT repository.id
FROM repository
WHERE repository.name = :name
""",
    postgresql="""
SELECT repository.id
FROM repository
WHERE repository.name = %(name)s::VARCHAR COLLATE "C"
""",
)

HOLD_REPOSITORY: Final = Statement(
    sqlite="""
SELECT repository.id
FROM repository
WHERE repository.name = :name
""",
    postgresql="""
SELECT repository.id
FROM repository
WHERE repository.name = %(name)s::VARCHAR COLLATE "C" FOR SHARE
""",
)

LOCK_REPOSITORY: Final = Statement(
    sqlite="""
SELECT repository.id
FROM repository
WHERE repository.name = :name
""",
    postgresql="""
SELECT repository.id
FROM repository
WHERE repository.name = %(name)s::VARCHAR COLLATE "C" FOR NO KEY UPDATE
""",
)

INSERT_REPOSITORY: Final = Statement(
    sqlite="""
INSERT INTO repository (name, created_at) VALUES (:name, :at) ON CONFLICT (name) DO NOTHING RETURNING id
""",
    postgresql="""
INSERT INTO repository (name, created_at) VALUES (%(name)s::VARCHAR COLLATE "C", %(at)s) ON CONFLICT (name) DO NOTHING RETURNING repository.id
""",
)

LIST_REPOSITORIES: Final = Statement(
    sqlite="""
SELECT repository.name
FROM repository
WHERE repository.name > :after ORDER BY repository.name
LIMIT :limit OFFSET 0
""",
    postgresql="""
SELECT repository.name
FROM repository
WHERE repository.name > %(after)s::VARCHAR COLLATE "C" ORDER BY repository.name
LIMIT %(limit)s::BIGINT
""",
)

LINK_CONTENT: Final = Statement(
    sqlite="""
INSERT INTO content (digest, size, links, created_at) VALUES (:digest, :size, 1, :at) ON CONFLICT (digest) DO UPDATE SET links = (content.links + 1) RETURNING links
""",
    postgresql="""
INSERT INTO content (digest, size, links, created_at) VALUES (%(digest)s::VARCHAR COLLATE "C", %(size)s::BIGINT, 1, %(at)s) ON CONFLICT (digest) DO UPDATE SET links = (content.links + 1) RETURNING content.links
""",
)

UNLINK_CONTENT: Final = Statement(
    sqlite="""
UPDATE content SET links=(content.links - 1) WHERE content.digest = :given_digest
""",
    postgresql="""
UPDATE content SET links=(content.links - 1) WHERE content.digest = %(given_digest)s::VARCHAR COLLATE "C"
""",
)

FIND_BLOB_LINK: Final = Statement(
    sqlite="""
SELECT content.size, blob_link.leased_until, blob_link."references"
FROM repository JOIN blob_link ON blob_link.repository_id = repository.id JOIN content ON content.digest = blob_link.digest
WHERE repository.name = :repository AND blob_link.digest = :digest
""",
    postgresql="""
SELECT content.size, blob_link.leased_until, blob_link."references"
FROM repository JOIN blob_link ON blob_link.repository_id = repository.id JOIN content ON content.digest = blob_link.digest
WHERE repository.name = %(repository)s::VARCHAR COLLATE "C" AND blob_link.digest = %(digest)s::VARCHAR COLLATE "C"
""",
)

INSERT_BLOB_LINK: Final = Statement(
    sqlite="""
INSERT INTO blob_link (repository_id, digest, "references", leased_until) VALUES (:repository, :digest, (SELECT count(*) AS count_1
FROM manifest_reference
WHERE manifest_reference.repository_id = :repository AND manifest_reference.child = :digest AND manifest_reference.kind = 'optional'), :lease) ON CONFLICT (repository_id, digest) DO NOTHING RETURNING digest
""",
    postgresql="""
INSERT INTO blob_link (repository_id, digest, "references", leased_until) VALUES (%(repository)s::BIGINT, %(digest)s::VARCHAR COLLATE "C", (SELECT count(*) AS count_1
FROM manifest_reference
WHERE manifest_reference.repository_id = %(repository)s::BIGINT AND manifest_reference.child = %(digest)s::VARCHAR COLLATE "C" AND manifest_reference.kind = 'optional'), %(lease)s) ON CONFLICT (repository_id, digest) DO NOTHING RETURNING blob_link.digest
""",
)

EXTEND_BLOB_LINK: Final = Statement(
    sqlite="""
UPDATE blob_link SET leased_until=CASE WHEN (blob_link.leased_until < :lease) THEN :lease ELSE blob_link.leased_until END WHERE blob_link.repository_id = :repository AND blob_link.digest = :given_digest
""",
    postgresql="""
UPDATE blob_link SET leased_until=CASE WHEN (blob_link.leased_until < %(lease)s) THEN %(lease)s ELSE blob_link.leased_until END WHERE blob_link.repository_id = %(repository)s::BIGINT AND blob_link.digest = %(given_digest)s::VARCHAR COLLATE "C"
""",
)

RENEW_BLOB_LINK: Final = Statement(
    sqlite="""
UPDATE blob_link SET leased_until=CASE WHEN (blob_link.leased_until < :lease) THEN :lease ELSE blob_link.leased_until END WHERE blob_link.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = :repository) AND blob_link.digest = :given_digest
""",
    postgresql="""
UPDATE blob_link SET leased_until=CASE WHEN (blob_link.leased_until < %(lease)s) THEN %(lease)s ELSE blob_link.leased_until END WHERE blob_link.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = %(repository)s::VARCHAR COLLATE "C") AND blob_link.digest = %(given_digest)s::VARCHAR COLLATE "C"
""",
)

DELETE_UNREFERENCED_BLOB_LINK: Final = Statement(
    sqlite="""
DELETE FROM blob_link WHERE blob_link.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = :repository) AND blob_link.digest = :digest AND blob_link."references" = 0
""",
    postgresql="""
DELETE FROM blob_link WHERE blob_link.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = %(repository)s::VARCHAR COLLATE "C") AND blob_link.digest = %(digest)s::VARCHAR COLLATE "C" AND blob_link."references" = 0
""",
)

LIST_BLOB_HOLDERS: Final = Statement(
    sqlite="""
SELECT repository.name
FROM blob_link JOIN repository ON repository.id = blob_link.repository_id
WHERE blob_link.digest = :digest ORDER BY blob_link.repository_id
LIMIT :limit OFFSET 0
""",
    postgresql="""
SELECT repository.name
FROM blob_link JOIN repository ON repository.id = blob_link.repository_id
WHERE blob_link.digest = %(digest)s::VARCHAR COLLATE "C" ORDER BY blob_link.repository_id
LIMIT %(limit)s::BIGINT
""",
)

LIST_PRESENT_BLOBS: Final = Statement(
    sqlite="""
SELECT blob_link.digest
FROM blob_link
WHERE blob_link.repository_id = :repository AND blob_link.digest IN (SELECT given.value
FROM json_each(:digests) AS given) ORDER BY blob_link.digest
""",
    postgresql="""
SELECT blob_link.digest
FROM blob_link
WHERE blob_link.repository_id = %(repository)s::BIGINT AND blob_link.digest IN (SELECT given.value
FROM (SELECT unnest(%(digests)s::TEXT[]) AS value) AS given) ORDER BY blob_link.digest
""",
)

HOLD_BLOB_LINKS: Final = Statement(
    sqlite="""
SELECT blob_link.digest
FROM blob_link
WHERE blob_link.repository_id = :repository AND blob_link.digest IN (SELECT given.value
FROM json_each(:digests) AS given) ORDER BY blob_link.digest
""",
    postgresql="""
SELECT blob_link.digest
FROM blob_link
WHERE blob_link.repository_id = %(repository)s::BIGINT AND blob_link.digest IN (SELECT given.value
FROM (SELECT unnest(%(digests)s::TEXT[]) AS value) AS given) ORDER BY blob_link.digest FOR KEY SHARE
""",
)

ADD_REFERENCES: Final = Statement(
    sqlite="""
UPDATE blob_link SET "references"=(blob_link."references" + 1) WHERE blob_link.repository_id = :repository AND blob_link.digest IN (SELECT blob_link.digest
FROM blob_link
WHERE blob_link.repository_id = :repository AND blob_link.digest IN (SELECT given.value
FROM json_each(:digests) AS given) ORDER BY blob_link.digest)
""",
    postgresql="""
UPDATE blob_link SET "references"=(blob_link."references" + 1) WHERE blob_link.repository_id = %(repository)s::BIGINT AND blob_link.digest IN (SELECT blob_link.digest
FROM blob_link
WHERE blob_link.repository_id = %(repository)s::BIGINT AND blob_link.digest IN (SELECT given.value
FROM (SELECT unnest(%(digests)s::TEXT[]) AS value) AS given) ORDER BY blob_link.digest FOR NO KEY UPDATE)
""",
)

DROP_REFERENCES: Final = Statement(
    sqlite="""
UPDATE blob_link SET "references"=(blob_link."references" - 1) WHERE blob_link.repository_id = :repository AND blob_link.digest IN (SELECT blob_link.digest
FROM blob_link
WHERE blob_link.repository_id = :repository AND blob_link.digest IN (SELECT given.value
FROM json_each(:digests) AS given) ORDER BY blob_link.digest)
""",
    postgresql="""
UPDATE blob_link SET "references"=(blob_link."references" - 1) WHERE blob_link.repository_id = %(repository)s::BIGINT AND blob_link.digest IN (SELECT blob_link.digest
FROM blob_link
WHERE blob_link.repository_id = %(repository)s::BIGINT AND blob_link.digest IN (SELECT given.value
FROM (SELECT unnest(%(digests)s::TEXT[]) AS value) AS given) ORDER BY blob_link.digest FOR NO KEY UPDATE)
""",
)

FIND_MANIFEST_BY_DIGEST: Final = Statement(
    sqlite="""
SELECT manifest.digest, manifest.media_type, manifest.size, manifest.artifact_type, manifest.subject
FROM repository JOIN manifest ON manifest.repository_id = repository.id
WHERE repository.name = :repository AND manifest.digest = :digest
""",
    postgresql="""
SELECT manifest.digest, manifest.media_type, manifest.size, manifest.artifact_type, manifest.subject
FROM repository JOIN manifest ON manifest.repository_id = repository.id
WHERE repository.name = %(repository)s::VARCHAR COLLATE "C" AND manifest.digest = %(digest)s::VARCHAR COLLATE "C"
""",
)

FIND_MANIFEST_BY_TAG: Final = Statement(
    sqlite="""
SELECT manifest.digest, manifest.media_type, manifest.size, manifest.artifact_type, manifest.subject
FROM repository JOIN tag ON tag.repository_id = repository.id JOIN manifest ON manifest.repository_id = tag.repository_id AND manifest.digest = tag.digest
WHERE repository.name = :repository AND tag.name = :tag
""",
    postgresql="""
SELECT manifest.digest, manifest.media_type, manifest.size, manifest.artifact_type, manifest.subject
FROM repository JOIN tag ON tag.repository_id = repository.id JOIN manifest ON manifest.repository_id = tag.repository_id AND manifest.digest = tag.digest
WHERE repository.name = %(repository)s::VARCHAR COLLATE "C" AND tag.name = %(tag)s::VARCHAR COLLATE "C"
""",
)

LIST_PRESENT_MANIFESTS: Final = Statement(
    sqlite="""
SELECT manifest.digest
FROM manifest
WHERE manifest.repository_id = :repository AND manifest.digest IN (SELECT given.value
FROM json_each(:digests) AS given)
""",
    postgresql="""
SELECT manifest.digest
FROM manifest
WHERE manifest.repository_id = %(repository)s::BIGINT AND manifest.digest IN (SELECT given.value
FROM (SELECT unnest(%(digests)s::TEXT[]) AS value) AS given)
""",
)

LIST_MANIFESTS: Final = Statement(
    sqlite="""
SELECT manifest.digest, manifest.media_type, manifest.size, manifest.artifact_type, manifest.subject
FROM manifest
WHERE manifest.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = :repository) AND manifest.digest IN (SELECT given.value
FROM json_each(:digests) AS given)
""",
    postgresql="""
SELECT manifest.digest, manifest.media_type, manifest.size, manifest.artifact_type, manifest.subject
FROM manifest
WHERE manifest.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = %(repository)s::VARCHAR COLLATE "C") AND manifest.digest IN (SELECT given.value
FROM (SELECT unnest(%(digests)s::TEXT[]) AS value) AS given)
""",
)

LIST_ANNOTATIONS: Final = Statement(
    sqlite="""
SELECT manifest.digest, manifest.annotations
FROM manifest
WHERE manifest.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = :repository) AND manifest.digest IN (SELECT given.value
FROM json_each(:digests) AS given)
""",
    postgresql="""
SELECT manifest.digest, manifest.annotations
FROM manifest
WHERE manifest.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = %(repository)s::VARCHAR COLLATE "C") AND manifest.digest IN (SELECT given.value
FROM (SELECT unnest(%(digests)s::TEXT[]) AS value) AS given)
""",
)

HOLD_MANIFEST: Final = Statement(
    sqlite="""
SELECT manifest.digest
FROM manifest
WHERE manifest.repository_id = :repository AND manifest.digest = :digest
""",
    postgresql="""
SELECT manifest.digest
FROM manifest
WHERE manifest.repository_id = %(repository)s::BIGINT AND manifest.digest = %(digest)s::VARCHAR COLLATE "C" FOR KEY SHARE
""",
)

LOCK_MANIFEST: Final = Statement(
    sqlite="""
SELECT manifest.digest
FROM manifest
WHERE manifest.repository_id = :repository AND manifest.digest = :digest
""",
    postgresql="""
SELECT manifest.digest
FROM manifest
WHERE manifest.repository_id = %(repository)s::BIGINT AND manifest.digest = %(digest)s::VARCHAR COLLATE "C" FOR UPDATE
""",
)

INSERT_MANIFEST: Final = Statement(
    sqlite="""
INSERT INTO manifest (repository_id, digest, media_type, artifact_type, size, subject, pushed_at, annotations) VALUES (:repository, :digest, :media_type, :artifact_type, :size, :subject, :at, :annotations) ON CONFLICT (repository_id, digest) DO NOTHING RETURNING digest
""",
    postgresql="""
INSERT INTO manifest (repository_id, digest, media_type, artifact_type, size, subject, pushed_at, annotations) VALUES (%(repository)s::BIGINT, %(digest)s::VARCHAR COLLATE "C", %(media_type)s::VARCHAR, %(artifact_type)s::VARCHAR, %(size)s::BIGINT, %(subject)s::VARCHAR COLLATE "C", %(at)s, %(annotations)s::VARCHAR) ON CONFLICT (repository_id, digest) DO NOTHING RETURNING manifest.digest
""",
)

DELETE_MANIFEST: Final = Statement(
    sqlite="""
DELETE FROM manifest WHERE manifest.repository_id = :repository AND manifest.digest = :digest
""",
    postgresql="""
DELETE FROM manifest WHERE manifest.repository_id = %(repository)s::BIGINT AND manifest.digest = %(digest)s::VARCHAR COLLATE "C"
""",
)

INSERT_MANIFEST_REFERENCES: Final = Statement(
    sqlite="""
INSERT INTO manifest_reference (repository_id, manifest, kind, child) SELECT :repository AS anon_1, :manifest AS anon_2, :kind AS anon_3, given.value
FROM json_each(:digests) AS given
""",
    postgresql="""
INSERT INTO manifest_reference (repository_id, manifest, kind, child) SELECT %(repository)s::BIGINT AS anon_1, %(manifest)s::VARCHAR COLLATE "C" AS anon_2, %(kind)s::VARCHAR AS anon_3, given.value
FROM (SELECT unnest(%(digests)s::TEXT[]) AS value) AS given
""",
)

LIST_MANIFEST_BLOBS: Final = Statement(
    sqlite="""
SELECT manifest_reference.child
FROM manifest_reference
WHERE manifest_reference.repository_id = :repository AND manifest_reference.manifest = :manifest AND manifest_reference.kind IN ('blob', 'optional')
""",
    postgresql="""
SELECT manifest_reference.child
FROM manifest_reference
WHERE manifest_reference.repository_id = %(repository)s::BIGINT AND manifest_reference.manifest = %(manifest)s::VARCHAR COLLATE "C" AND manifest_reference.kind IN ('blob', 'optional')
""",
)

DELETE_MANIFEST_REFERENCES: Final = Statement(
    sqlite="""
DELETE FROM manifest_reference WHERE manifest_reference.repository_id = :repository AND manifest_reference.manifest = :manifest
""",
    postgresql="""
DELETE FROM manifest_reference WHERE manifest_reference.repository_id = %(repository)s::BIGINT AND manifest_reference.manifest = %(manifest)s::VARCHAR COLLATE "C"
""",
)

LIST_REFERRERS: Final = Statement(
    sqlite="""
SELECT manifest.digest, manifest.media_type, manifest.size, manifest.artifact_type, manifest.subject
FROM manifest
WHERE manifest.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = :repository) AND manifest.subject = :subject AND manifest.digest > :after ORDER BY manifest.digest
LIMIT :limit OFFSET 0
""",
    postgresql="""
SELECT manifest.digest, manifest.media_type, manifest.size, manifest.artifact_type, manifest.subject
FROM manifest
WHERE manifest.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = %(repository)s::VARCHAR COLLATE "C") AND manifest.subject = %(subject)s::VARCHAR COLLATE "C" AND manifest.digest > %(after)s::VARCHAR COLLATE "C" ORDER BY manifest.digest
LIMIT %(limit)s::BIGINT
""",
)

LIST_REFERRERS_OF_TYPE: Final = Statement(
    sqlite="""
SELECT manifest.digest, manifest.media_type, manifest.size, manifest.artifact_type, manifest.subject
FROM manifest
WHERE manifest.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = :repository) AND manifest.subject = :subject AND manifest.digest > :after AND manifest.artifact_type = :artifact_type ORDER BY manifest.digest
LIMIT :limit OFFSET 0
""",
    postgresql="""
SELECT manifest.digest, manifest.media_type, manifest.size, manifest.artifact_type, manifest.subject
FROM manifest
WHERE manifest.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = %(repository)s::VARCHAR COLLATE "C") AND manifest.subject = %(subject)s::VARCHAR COLLATE "C" AND manifest.digest > %(after)s::VARCHAR COLLATE "C" AND manifest.artifact_type = %(artifact_type)s::VARCHAR ORDER BY manifest.digest
LIMIT %(limit)s::BIGINT
""",
)

SET_TAG: Final = Statement(
    sqlite="""
INSERT INTO tag (repository_id, name, digest, set_at) VALUES (:repository, :name, :digest, :at) ON CONFLICT (repository_id, name) DO UPDATE SET digest = excluded.digest, set_at = excluded.set_at WHERE tag.digest != excluded.digest RETURNING name
""",
    postgresql="""
INSERT INTO tag (repository_id, name, digest, set_at) VALUES (%(repository)s::BIGINT, %(name)s::VARCHAR COLLATE "C", %(digest)s::VARCHAR COLLATE "C", %(at)s) ON CONFLICT (repository_id, name) DO UPDATE SET digest = excluded.digest, set_at = excluded.set_at WHERE tag.digest != excluded.digest RETURNING tag.name
""",
)

LIST_TAGS: Final = Statement(
    sqlite="""
SELECT tag.name
FROM tag
WHERE tag.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = :repository) AND tag.name > :after ORDER BY tag.name
LIMIT :limit OFFSET 0
""",
    postgresql="""
SELECT tag.name
FROM tag
WHERE tag.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = %(repository)s::VARCHAR COLLATE "C") AND tag.name > %(after)s::VARCHAR COLLATE "C" ORDER BY tag.name
LIMIT %(limit)s::BIGINT
""",
)

DELETE_TAG: Final = Statement(
    sqlite="""
DELETE FROM tag WHERE tag.repository_id = :repository AND tag.name = :name RETURNING digest
""",
    postgresql="""
DELETE FROM tag WHERE tag.repository_id = %(repository)s::BIGINT AND tag.name = %(name)s::VARCHAR COLLATE "C" RETURNING tag.digest
""",
)

DELETE_TAGS_OF_MANIFEST: Final = Statement(
    sqlite="""
DELETE FROM tag WHERE tag.repository_id = :repository AND tag.name IN (SELECT tag.name
FROM tag
WHERE tag.repository_id = :repository AND tag.digest = :digest ORDER BY tag.name) RETURNING name
""",
    postgresql="""
DELETE FROM tag WHERE tag.repository_id = %(repository)s::BIGINT AND tag.name IN (SELECT tag.name
FROM tag
WHERE tag.repository_id = %(repository)s::BIGINT AND tag.digest = %(digest)s::VARCHAR COLLATE "C" ORDER BY tag.name FOR UPDATE) RETURNING tag.name
""",
)

INSERT_TAG_CHANGE: Final = Statement(
    sqlite="""
INSERT INTO tag_history (repository_id, name, digest, at) VALUES (:repository, :name, :digest, :at)
""",
    postgresql="""
INSERT INTO tag_history (repository_id, name, digest, at) VALUES (%(repository)s::BIGINT, %(name)s::VARCHAR COLLATE "C", %(digest)s::VARCHAR COLLATE "C", %(at)s)
""",
)

LIST_TAG_CHANGES: Final = Statement(
    sqlite="""
SELECT tag_history.digest, tag_history.at
FROM tag_history
WHERE tag_history.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = :repository) AND tag_history.name = :name ORDER BY tag_history.id DESC
LIMIT :limit OFFSET 0
""",
    postgresql="""
SELECT tag_history.digest, tag_history.at
FROM tag_history
WHERE tag_history.repository_id = (SELECT repository.id
FROM repository
WHERE repository.name = %(repository)s::VARCHAR COLLATE "C") AND tag_history.name = %(name)s::VARCHAR COLLATE "C" ORDER BY tag_history.id DESC
LIMIT %(limit)s::BIGINT
""",
)

INSERT_UPLOAD: Final = Statement(
    sqlite="""
INSERT INTO upload (id, repository, algorithm, actor, started_at, touched_at) VALUES (:id, :repository, :algorithm, :actor, :started_at, :touched_at)
""",
    postgresql="""
INSERT INTO upload (id, repository, algorithm, actor, started_at, touched_at) VALUES (%(id)s::VARCHAR COLLATE "C", %(repository)s::VARCHAR COLLATE "C", %(algorithm)s::VARCHAR, %(actor)s::VARCHAR, %(started_at)s, %(touched_at)s)
""",
)

FIND_UPLOAD: Final = Statement(
    sqlite="""
SELECT upload.id, upload.repository, upload.algorithm, upload.actor, upload.started_at, upload.touched_at
FROM upload
WHERE upload.id = :id
""",
    postgresql="""
SELECT upload.id, upload.repository, upload.algorithm, upload.actor, upload.started_at, upload.touched_at
FROM upload
WHERE upload.id = %(id)s::VARCHAR COLLATE "C"
""",
)

TOUCH_UPLOAD: Final = Statement(
    sqlite="""
UPDATE upload SET touched_at=:at WHERE upload.id = :upload AND upload.touched_at < :at
""",
    postgresql="""
UPDATE upload SET touched_at=%(at)s WHERE upload.id = %(upload)s::VARCHAR COLLATE "C" AND upload.touched_at < %(at)s
""",
)

DELETE_UPLOAD: Final = Statement(
    sqlite="""
DELETE FROM upload WHERE upload.id = :id
""",
    postgresql="""
DELETE FROM upload WHERE upload.id = %(id)s::VARCHAR COLLATE "C"
""",
)

LIST_IDLE_UPLOADS: Final = Statement(
    sqlite="""
SELECT upload.id, upload.repository, upload.algorithm, upload.actor, upload.started_at, upload.touched_at
FROM upload
WHERE upload.touched_at < :before ORDER BY upload.touched_at
LIMIT :limit OFFSET 0
""",
    postgresql="""
SELECT upload.id, upload.repository, upload.algorithm, upload.actor, upload.started_at, upload.touched_at
FROM upload
WHERE upload.touched_at < %(before)s ORDER BY upload.touched_at
LIMIT %(limit)s::BIGINT
""",
)

INSERT_EVENT: Final = Statement(
    sqlite="""
INSERT INTO event (kind, repository, digest, tag, actor, at) VALUES (:kind, :repository, :digest, :tag, :actor, :at)
""",
    postgresql="""
INSERT INTO event (kind, repository, digest, tag, actor, at) VALUES (%(kind)s::VARCHAR, %(repository)s::VARCHAR COLLATE "C", %(digest)s::VARCHAR COLLATE "C", %(tag)s::VARCHAR COLLATE "C", %(actor)s::VARCHAR, %(at)s)
""",
)

LIST_EVENTS: Final = Statement(
    sqlite="""
SELECT event.id, event.kind, event.repository, event.digest, event.tag, event.actor, event.at
FROM event ORDER BY event.id
LIMIT :limit OFFSET 0
""",
    postgresql="""
SELECT event.id, event.kind, event.repository, event.digest, event.tag, event.actor, event.at
FROM event ORDER BY event.id
LIMIT %(limit)s::BIGINT
""",
)

DELETE_EVENTS: Final = Statement(
    sqlite="""
DELETE FROM event WHERE event.id IN (SELECT given.value
FROM json_each(:ids) AS given)
""",
    postgresql="""
DELETE FROM event WHERE event.id IN (SELECT given.value
FROM (SELECT unnest(%(ids)s::BIGINT[]) AS value) AS given)
""",
)

EXPIRE_EVENTS: Final = Statement(
    sqlite="""
DELETE FROM event WHERE event.id IN (SELECT event.id
FROM event
WHERE event.at < :before ORDER BY event.at
LIMIT :limit OFFSET 0)
""",
    postgresql="""
DELETE FROM event WHERE event.id IN (SELECT event.id
FROM event
WHERE event.at < %(before)s ORDER BY event.at
LIMIT %(limit)s::BIGINT)
""",
)
