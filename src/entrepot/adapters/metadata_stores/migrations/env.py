"""What alembic runs around the revisions; `upgrade` gives it the connection."""

from alembic import context

from entrepot.adapters.metadata_stores.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes most things of a table only by copying it
)
with context.begin_transaction():
    context.run_migrations()
