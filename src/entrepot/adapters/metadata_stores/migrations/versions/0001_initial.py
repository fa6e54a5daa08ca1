"""The first schema: repositories, content, links, manifests, tags, uploads, events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    create_repositories_and_content()
    create_manifests()
    create_tags()
    create_uploads_and_events()


def create_repositories_and_content() -> None:
    op.create_table(
        "repository",
        sa.Column("id", ID, sa.Identity(), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="repository_pk"),
    )
    op.create_index("repository_name", "repository", ["name"], unique=True)
    op.create_table(
        "content",
        sa.Column("digest", NAME, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("links", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="content_pk"),
        sqlite_with_rowid=False,
    )
    create_partial_index("content_unlinked", "content", ["digest"], "links = 0")
    op.create_table(
        "blob_link",
        sa.Column("repository_id", ID, nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("references", sa.BigInteger(), nullable=False),
        sa.Column("leased_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "digest", name="blob_link_pk"),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repository.id"], name="blob_link_repository_id_fk"
        ),
        sa.ForeignKeyConstraint(["digest"], ["content.digest"], name="blob_link_digest_fk"),
        sqlite_with_rowid=False,
    )
    op.create_index("blob_link_holders", "blob_link", ["digest", "repository_id"])
    create_partial_index(
        "blob_link_unreferenced", "blob_link", ["leased_until"], '"references" = 0'
    )


def create_manifests() -> None:
    op.create_table(
        "manifest",
        sa.Column("repository_id", ID, nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("artifact_type", sa.Text()),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("subject", NAME),
        sa.Column("pushed_at", sa.Double(), nullable=False),
        sa.Column("annotations", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "digest", name="manifest_pk"),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repository.id"], name="manifest_repository_id_fk"
        ),
        sa.ForeignKeyConstraint(["digest"], ["content.digest"], name="manifest_digest_fk"),
    )
    op.create_index("manifest_holders", "manifest", ["digest"])
    create_partial_index(
        "manifest_referrers",
        "manifest",
        ["repository_id", "subject", "digest"],
        "subject IS NOT NULL",
    )
    op.create_table(
        "manifest_reference",
        sa.Column("repository_id", ID, nullable=False),
        sa.Column("manifest", NAME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("child", NAME, nullable=False),
        sa.PrimaryKeyConstraint(
            "repository_id", "manifest", "kind", "child", name="manifest_reference_pk"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id", "manifest"],
            ["manifest.repository_id", "manifest.digest"],
            name="manifest_reference_repository_id_manifest_fk",
        ),
        sqlite_with_rowid=False,
    )
    create_partial_index(
        "manifest_reference_parents",
        "manifest_reference",
        ["repository_id", "child"],
        "kind = 'manifest'",
    )
    create_partial_index(
        "manifest_reference_optional",
        "manifest_reference",
        ["repository_id", "child"],
        "kind = 'optional'",
    )


def create_tags() -> None:
    op.create_table(
        "tag",
        sa.Column("repository_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("set_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "name", name="tag_pk"),
        sa.ForeignKeyConstraint(
            ["repository_id", "digest"],
            ["manifest.repository_id", "manifest.digest"],
            name="tag_repository_id_digest_fk",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("tag_digest", "tag", ["repository_id", "digest"])
    op.create_table(
        "tag_history",
        sa.Column("id", ID, sa.Identity(), nullable=False),
        sa.Column("repository_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("digest", NAME),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="tag_history_pk"),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repository.id"], name="tag_history_repository_id_fk"
        ),
    )
    op.create_index("tag_history_name", "tag_history", ["repository_id", "name", "id"])


def create_uploads_and_events() -> None:
    op.create_table(
        "upload",
        sa.Column("id", NAME, nullable=False),
        sa.Column("repository", NAME, nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("touched_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="upload_pk"),
        sqlite_with_rowid=False,
    )
    op.create_index("upload_touched", "upload", ["touched_at"])
    op.create_table(
        "event",
        sa.Column("id", ID, sa.Identity(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("repository", NAME, nullable=False),
        sa.Column("digest", NAME),
        sa.Column("tag", NAME),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="event_pk"),
        sqlite_autoincrement=True,
    )
    op.create_index("event_at", "event", ["at"])


def create_partial_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
