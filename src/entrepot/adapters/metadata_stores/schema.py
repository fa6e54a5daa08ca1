"""The tables, as SQLAlchemy Core describes them. Statements live in `statements`.

    repository ─┬─ blob_link ──── content      what a repository may read
                ├─ manifest ───── content      its manifests; their bytes are content too
                │    ├─ manifest_reference     what a manifest needs: blobs, and an index's children
                │    └─ tag                    names for manifests; tag_history is their past
    upload, event                              open uploads; the outbox

Counts are kept exact by every transaction: `blob_link.references` is the number of manifests
of the repository that need the blob, `content.links` the number of blob links and manifests
over all repositories with that digest. Nothing is deleted because a count is zero: zero means
that garbage collection may look at the row, through an index that holds only such rows.

Names and digests are compared byte by byte on both engines. Times are Unix seconds.
A change here needs a migration (`migrations/versions`) and new texts (`compile`).
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

metadata: Final = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "fk": "%(table_name)s_%(column_0_N_name)s_fk",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
    }
)

# SQLite compares text byte by byte unless told otherwise; PostgreSQL must be told.
NAME: Final = Text().with_variant(Text(collation="C"), "postgresql")
DIGEST: Final = NAME
TIME: Final[Double[float]] = Double()
# SQLite numbers rows by itself only in a column whose type is exactly INTEGER.
ID: Final = BigInteger().with_variant(Integer(), "sqlite")

repository = Table(
    "repository",
    metadata,
    Column("id", ID, Identity(), primary_key=True),
    Column("name", NAME, nullable=False),
    Column("created_at", TIME, nullable=False),
    Index("repository_name", "name", unique=True),
)

content = Table(
    "content",
    metadata,
    Column("digest", DIGEST, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("links", BigInteger, nullable=False),
    Column("created_at", TIME, nullable=False),
    Index(
        "content_unlinked",
        "digest",
        sqlite_where=text("links = 0"),
        postgresql_where=text("links = 0"),
    ),
    sqlite_with_rowid=False,
)

blob_link = Table(
    "blob_link",
    metadata,
    Column("repository_id", ID, ForeignKey("repository.id"), nullable=False),
    Column("digest", DIGEST, ForeignKey("content.digest"), nullable=False),
    Column("references", BigInteger, nullable=False),
    Column("leased_until", TIME, nullable=False),
    PrimaryKeyConstraint("repository_id", "digest"),
    Index("blob_link_holders", "digest", "repository_id"),
    Index(
        "blob_link_unreferenced",
        "leased_until",
        sqlite_where=text('"references" = 0'),
        postgresql_where=text('"references" = 0'),
    ),
    sqlite_with_rowid=False,
)

manifest = Table(
    "manifest",
    metadata,
    Column("repository_id", ID, ForeignKey("repository.id"), nullable=False),
    Column("digest", DIGEST, ForeignKey("content.digest"), nullable=False),
    Column("media_type", Text, nullable=False),
    Column("artifact_type", Text),
    Column("size", BigInteger, nullable=False),
    Column("subject", DIGEST),
    Column("pushed_at", TIME, nullable=False),
    # A JSON object, perhaps of megabytes. It stands last, and in SQLite the rows are not part of
    # the primary key's tree, so that a look-up never reads it.
    Column("annotations", Text, nullable=False),
    PrimaryKeyConstraint("repository_id", "digest"),
    Index("manifest_holders", "digest"),
    Index(
        "manifest_referrers",
        "repository_id",
        "subject",
        "digest",
        sqlite_where=text("subject IS NOT NULL"),
        postgresql_where=text("subject IS NOT NULL"),
    ),
)

manifest_reference = Table(
    "manifest_reference",
    metadata,
    Column("repository_id", ID, nullable=False),
    Column("manifest", DIGEST, nullable=False),
    Column("kind", Text, nullable=False),  # blob | optional (also a blob) | manifest
    Column("child", DIGEST, nullable=False),  # may be absent unless the kind is blob
    PrimaryKeyConstraint("repository_id", "manifest", "kind", "child"),
    ForeignKeyConstraint(
        ["repository_id", "manifest"], ["manifest.repository_id", "manifest.digest"]
    ),
    Index(
        "manifest_reference_parents",
        "repository_id",
        "child",
        sqlite_where=text("kind = 'manifest'"),
        postgresql_where=text("kind = 'manifest'"),
    ),
    Index(
        "manifest_reference_optional",
        "repository_id",
        "child",
        sqlite_where=text("kind = 'optional'"),
        postgresql_where=text("kind = 'optional'"),
    ),
    sqlite_with_rowid=False,
)

tag = Table(
    "tag",
    metadata,
    Column("repository_id", ID, nullable=False),
    Column("name", NAME, nullable=False),
    Column("digest", DIGEST, nullable=False),
    Column("set_at", TIME, nullable=False),
    PrimaryKeyConstraint("repository_id", "name"),
    ForeignKeyConstraint(
        ["repository_id", "digest"], ["manifest.repository_id", "manifest.digest"]
    ),
    Index("tag_digest", "repository_id", "digest"),
    sqlite_with_rowid=False,
)

tag_history = Table(
    "tag_history",
    metadata,
    Column("id", ID, Identity(), primary_key=True),
    Column("repository_id", ID, ForeignKey("repository.id"), nullable=False),
    Column("name", NAME, nullable=False),
    Column("digest", DIGEST),  # absent where the tag was deleted
    Column("at", TIME, nullable=False),
    Index("tag_history_name", "repository_id", "name", "id"),
)

# An upload may come before its repository exists, so it holds the name.
upload = Table(
    "upload",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("repository", NAME, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("started_at", TIME, nullable=False),
    Column("touched_at", TIME, nullable=False),
    Index("upload_touched", "touched_at"),
    sqlite_with_rowid=False,
)

event = Table(
    "event",
    metadata,
    Column("id", ID, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("repository", NAME, nullable=False),
    Column("digest", DIGEST),
    Column("tag", NAME),
    Column("actor", Text, nullable=False),
    Column("at", TIME, nullable=False),
    Index("event_at", "at"),
    sqlite_autoincrement=True,  # the id of a dropped event is never given again
)
