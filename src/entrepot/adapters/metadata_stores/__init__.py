"""Metadata stores: repositories, links, manifests, tags, uploads and events in a SQL database.

`store.SqlMetadataStore` is the driver, for SQLite and PostgreSQL with the same statements.
`schema` holds the tables, `statements` what is asked of them, `sql` the same compiled to text
(so that a worker needs neither SQLAlchemy nor alembic), `migrate` brings a database up to date.
One file per noun implements the ports over the `database.Database` of either engine.
"""
