"""The tables of a cache index in SQLite, and how a file of an older version becomes one of today's.

A migration is a list of statements, run in one transaction with the change of `user_version`,
which counts migrations. Never edit one that was released: add the next.

The sums (`usage.size`, `usage.items`, `shelf.size`) are kept by triggers, so no statement can
change content without changing them, in the same transaction.

- `content`: one row per digest; `queue`, `rank` and `counted` are where the policy put it (`queue`
  begins with the policy's name); `links` counts the rows of `link`.
- `shelf`: bytes by queue of what a policy sees, that is stored and not pinned.
- `pin`: also of content that is not there (yet).
- `link`: what a repository holds; `kind` is 1 for manifests, 0 for blobs, which have no media
  type, and 2 for what a manifest refers to.
- `absent`: a blob's digest stands there behind `blob `.
- `ghost`: evicted not long ago, in the order of `id`.
"""

# ruff: noqa: S608 - put together from constants only

import sqlite3
from typing import Final

from entrepot.oci.errors import Unavailable

APPLICATION: Final = 0x456E7443
"""SQLite's `application_id` of our files: "EntC"."""

Migration = tuple[str, ...]

_SEEN: Final = "{0}.state = 'stored' AND {0}.pinned = 0"
_MOVED: Final = """
    (OLD.size, OLD.state, OLD.upstream, OLD.pinned, OLD.queue)
    IS NOT (NEW.size, NEW.state, NEW.upstream, NEW.pinned, NEW.queue)
"""

_FIRST: Final[Migration] = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE content (
        id INTEGER PRIMARY KEY,
        digest TEXT NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        state TEXT NOT NULL,
        upstream TEXT NOT NULL,
        stamp TEXT NOT NULL DEFAULT '',
        stored_at REAL NOT NULL DEFAULT 0,
        used_at REAL NOT NULL DEFAULT 0,
        verified_at REAL NOT NULL DEFAULT 0,
        uses INTEGER NOT NULL DEFAULT 0,
        pinned INTEGER NOT NULL,
        links INTEGER NOT NULL,
        queue TEXT NOT NULL DEFAULT '',
        rank REAL NOT NULL DEFAULT 0,
        counted INTEGER NOT NULL DEFAULT 0
    ) STRICT
    """,
    "CREATE INDEX content_upstream ON content (upstream, digest)",
    "CREATE INDEX content_first ON content (queue, rank) WHERE state = 'stored' AND pinned = 0",
    """
    CREATE INDEX content_first_of_upstream ON content (upstream, queue, rank)
    WHERE state = 'stored' AND pinned = 0
    """,
    "CREATE INDEX content_verified ON content (verified_at) WHERE state = 'stored'",
    "CREATE INDEX content_unfinished ON content (id) WHERE state <> 'stored'",
    """
    CREATE INDEX content_unlinked ON content (id)
    WHERE links = 0 AND state = 'stored' AND pinned = 0
    """,
    """
    CREATE TABLE usage (
        upstream TEXT PRIMARY KEY,
        size INTEGER NOT NULL DEFAULT 0,
        items INTEGER NOT NULL DEFAULT 0,
        hits INTEGER NOT NULL DEFAULT 0,
        misses INTEGER NOT NULL DEFAULT 0,
        stale INTEGER NOT NULL DEFAULT 0,
        coalesced INTEGER NOT NULL DEFAULT 0,
        evictions INTEGER NOT NULL DEFAULT 0,
        evicted_bytes INTEGER NOT NULL DEFAULT 0,
        fetched_bytes INTEGER NOT NULL DEFAULT 0,
        served_bytes INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE shelf (
        queue TEXT NOT NULL,
        upstream TEXT NOT NULL,
        size INTEGER NOT NULL,
        PRIMARY KEY (queue, upstream)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE TABLE pin (digest TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    "CREATE TABLE ghost (id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE) STRICT",
    """
    CREATE TABLE inflation (
        policy TEXT NOT NULL,
        scope TEXT NOT NULL,
        value REAL NOT NULL,
        PRIMARY KEY (policy, scope)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE link (
        repository TEXT NOT NULL,
        digest TEXT NOT NULL,
        kind INTEGER NOT NULL,
        media_type TEXT NOT NULL,
        size INTEGER NOT NULL,
        linked_at REAL NOT NULL,
        PRIMARY KEY (repository, digest, kind)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX link_digest ON link (digest)",
    """
    CREATE TABLE tag (
        repository TEXT NOT NULL,
        name TEXT NOT NULL,
        digest TEXT NOT NULL,
        checked_at REAL NOT NULL,
        since REAL NOT NULL,
        PRIMARY KEY (repository, name)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE absent (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        repository TEXT NOT NULL,
        reference TEXT NOT NULL,
        until REAL NOT NULL,
        UNIQUE (repository, reference)
    ) STRICT
    """,
    "CREATE INDEX absent_until ON absent (until)",
    """
    CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        repository TEXT NOT NULL,
        reference TEXT NOT NULL,
        detail TEXT NOT NULL,
        at REAL NOT NULL
    ) STRICT
    """,
    """
    CREATE TRIGGER content_charged AFTER INSERT ON content BEGIN
        INSERT INTO usage (upstream, size, items) VALUES (NEW.upstream, NEW.size, 1)
        ON CONFLICT (upstream) DO UPDATE SET size = size + excluded.size, items = items + 1;
    END
    """,
    """
    CREATE TRIGGER content_recharged AFTER UPDATE OF size, upstream ON content
    WHEN OLD.size <> NEW.size OR OLD.upstream <> NEW.upstream BEGIN
        UPDATE usage SET size = size - OLD.size, items = items - 1 WHERE upstream = OLD.upstream;
        INSERT INTO usage (upstream, size, items) VALUES (NEW.upstream, NEW.size, 1)
        ON CONFLICT (upstream) DO UPDATE SET size = size + excluded.size, items = items + 1;
    END
    """,
    f"""
    CREATE TRIGGER content_forgotten AFTER DELETE ON content BEGIN
        UPDATE usage SET size = size - OLD.size, items = items - 1 WHERE upstream = OLD.upstream;
        UPDATE shelf SET size = size - OLD.size
        WHERE queue = OLD.queue AND upstream = OLD.upstream AND {_SEEN.format("OLD")};
    END
    """,
    f"""
    CREATE TRIGGER content_left_shelf
    AFTER UPDATE OF size, state, upstream, pinned, queue ON content
    WHEN {_SEEN.format("OLD")} AND {_MOVED} BEGIN
        UPDATE shelf SET size = size - OLD.size
        WHERE queue = OLD.queue AND upstream = OLD.upstream;
    END
    """,
    f"""
    CREATE TRIGGER content_came_to_shelf
    AFTER UPDATE OF size, state, upstream, pinned, queue ON content
    WHEN {_SEEN.format("NEW")} AND {_MOVED} BEGIN
        INSERT INTO shelf (queue, upstream, size) VALUES (NEW.queue, NEW.upstream, NEW.size)
        ON CONFLICT (queue, upstream) DO UPDATE SET size = size + excluded.size;
    END
    """,
    """
    CREATE TRIGGER link_made AFTER INSERT ON link BEGIN
        UPDATE content SET links = links + 1 WHERE digest = NEW.digest;
    END
    """,
    """
    CREATE TRIGGER link_gone AFTER DELETE ON link BEGIN
        UPDATE content SET links = links - 1 WHERE digest = OLD.digest;
    END
    """,
)

MIGRATIONS: Final[tuple[Migration, ...]] = (_FIRST,)


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> bool:
    """Bring a file to today's version in one transaction; return whether it was empty before.

    Raise Unavailable for a file of a newer version, or that is something else; sqlite3.Error.
    """
    version = _number(connection, "PRAGMA user_version")
    tables = _number(connection, "SELECT count(*) FROM sqlite_schema")
    if tables and _number(connection, "PRAGMA application_id") != APPLICATION:
        raise Unavailable("it is not a cache index; move it away, or choose another directory")
    if version > len(migrations):
        raise Unavailable(
            f"a newer Entrepot made it (version {version}, this one knows {len(migrations)}); "
            "run that one, or choose another directory"
        )
    if version < len(migrations):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statements in migrations[version:]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return not tables


def _number(connection: sqlite3.Connection, query: str) -> int:
    (number,) = connection.execute(query).fetchone()
    return int(number)
