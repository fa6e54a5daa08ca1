"""The SQL of a cache index. Parameters are numbered in the order that the comments give."""

# ruff: noqa: S608 - put together from constants only

from typing import Final

# Names

TAG: Final = """
    SELECT tag.digest, media_type, size, checked_at, since
    FROM tag JOIN link ON link.repository = tag.repository AND link.digest = tag.digest
    WHERE tag.repository = ?1 AND name = ?2 AND kind = 1
"""
TAG_DIGEST: Final = "SELECT digest FROM tag WHERE repository = ?1 AND name = ?2"
SET_TAG: Final = """
    INSERT INTO tag (repository, name, digest, checked_at, since) VALUES (?1, ?2, ?3, ?4, ?4)
    ON CONFLICT (repository, name) DO UPDATE SET
        checked_at = excluded.checked_at,
        since = CASE WHEN digest = excluded.digest THEN since ELSE excluded.since END,
        digest = excluded.digest
"""  # repository, name, digest, at
LINKED: Final = """
    SELECT media_type, size FROM link WHERE repository = ?1 AND digest = ?2 AND kind = ?3
"""
LINK: Final = """
    INSERT INTO link (repository, digest, kind, media_type, size, linked_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (repository, digest, kind) DO UPDATE SET
        media_type = excluded.media_type, size = excluded.size
    WHERE (media_type, size) IS NOT (excluded.media_type, excluded.size)
"""  # repository, digest, kind, media type, size, at
ABSENT: Final = "SELECT until FROM absent WHERE repository = ?1 AND reference = ?2"
SET_ABSENT: Final = """
    INSERT OR REPLACE INTO absent (repository, reference, until) VALUES (?1, ?2, ?3)
"""
PRESENT: Final = "DELETE FROM absent WHERE repository = ?1 AND reference = ?2"
TRIM_EXPIRED: Final = "DELETE FROM absent WHERE until < ?1"
TRIM_ABSENT: Final = "DELETE FROM absent WHERE id <= (SELECT max(id) FROM absent) - ?1"

# Catalog

REPOSITORIES: Final = """
    WITH RECURSIVE found (name) AS (
        SELECT min(repository) FROM link WHERE repository > ?1
        UNION ALL
        SELECT (SELECT min(repository) FROM link WHERE repository > found.name)
        FROM found WHERE found.name IS NOT NULL
    )
    SELECT name FROM found WHERE name IS NOT NULL LIMIT ?2
"""  # SELECT DISTINCT would walk over every link
TAGS: Final = """
    SELECT name, tag.digest, media_type, size, checked_at, since
    FROM tag JOIN link ON link.repository = tag.repository AND link.digest = tag.digest
    WHERE tag.repository = ?1 AND kind = 1 ORDER BY name
"""
LINKS: Final = "SELECT DISTINCT digest FROM link WHERE repository = ?1 ORDER BY digest"
COUNT_NAMES: Final = """
    SELECT count(*) FROM (
        SELECT name FROM tag WHERE repository = ?1 AND (?2 IN ('', name, digest))
        UNION
        SELECT digest FROM link WHERE repository = ?1 AND (?2 IN ('', digest))
        UNION
        SELECT replace(reference, 'blob ', '') FROM absent
        WHERE repository = ?1 AND (?2 = '' OR reference IN (?2, 'blob ' || ?2))
    )
"""  # repository, reference or ''
PURGE_TAGS: Final = "DELETE FROM tag WHERE repository = ?1 AND (?2 IN ('', name, digest))"
PURGE_LINKS: Final = "DELETE FROM link WHERE repository = ?1 AND (?2 IN ('', digest))"
PURGE_ABSENT: Final = """
    DELETE FROM absent WHERE repository = ?1 AND (?2 = '' OR reference IN (?2, 'blob ' || ?2))
"""
FORGET_TAGS: Final = """
    DELETE FROM tag WHERE repository = ?1 AND checked_at < ?2
        AND NOT EXISTS (SELECT 1 FROM content WHERE content.digest = tag.digest)
"""  # repository, before
FORGET_LINKS: Final = """
    DELETE FROM link WHERE repository = ?1 AND linked_at < ?2
        AND (kind <> 1 OR digest NOT IN (SELECT digest FROM tag WHERE repository = ?1))
        AND (
            NOT EXISTS (SELECT 1 FROM content WHERE content.digest = link.digest)
            OR (instr(?1, '/') = 0 AND NOT EXISTS (
                SELECT 1 FROM link AS other
                WHERE other.digest = link.digest AND instr(other.repository, '/') > 0))
        )
"""  # repository, before
UNLINKED: Final = """
    SELECT digest FROM content INDEXED BY content_unlinked
    WHERE links = 0 AND state = 'stored' AND pinned = 0 ORDER BY id LIMIT ?1
"""
RECORD: Final = """
    INSERT INTO event (kind, repository, reference, detail, at) VALUES (?1, ?2, ?3, ?4, ?5)
"""
TRIM_EVENTS: Final = "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?1"
EVENTS: Final = """
    SELECT kind, repository, reference, detail, at FROM event ORDER BY id DESC LIMIT ?1
"""

# Contents

_CONTENT: Final = (
    "digest, size, state, upstream, stamp, stored_at, used_at, verified_at, uses, pinned"
)
FIND: Final = f"SELECT {_CONTENT} FROM content WHERE digest = ?1"
CHARGED: Final = "SELECT size, state FROM content WHERE digest = ?1"
USED: Final = """
    SELECT coalesce(sum(size) FILTER (WHERE upstream = ?1), 0), coalesce(sum(size), 0) FROM usage
"""
RESERVE: Final = """
    INSERT INTO content (digest, size, state, upstream, pinned, links) VALUES (
        ?1, ?2, 'filling', ?3,
        EXISTS (SELECT 1 FROM pin WHERE digest = ?1),
        (SELECT count(*) FROM link WHERE digest = ?1)
    )
"""  # digest, size, upstream
RESERVE_AGAIN: Final = """
    UPDATE content SET size = ?2, state = 'filling', upstream = ?3,
        stamp = '', stored_at = 0, verified_at = 0, queue = '', rank = 0, counted = 0
    WHERE digest = ?1
"""  # digest, size, upstream
STORED: Final = """
    UPDATE content SET state = 'stored', stamp = ?2, stored_at = ?3, verified_at = ?3,
        used_at = max(used_at, ?3), queue = ?4, rank = ?5, counted = ?6
    WHERE digest = ?1
"""  # digest, stamp, at, queue, rank, counted
FORGET: Final = "DELETE FROM content WHERE digest = ?1"
FORGET_IN_STATE: Final = "DELETE FROM content WHERE digest = ?1 AND state = ?2"
TAKE: Final = "UPDATE content SET state = 'evicting' WHERE digest = ?1 AND state = 'stored'"
UNFINISHED: Final = f"SELECT {_CONTENT} FROM content WHERE state <> 'stored' ORDER BY id"

# The shelf

_ENTRY: Final = "digest, size, stored_at, used_at, queue, rank, counted"
_SEEN: Final = "state = 'stored' AND pinned = 0"
FIRST: Final = f"""
    SELECT {_ENTRY} FROM content WHERE {_SEEN} AND queue = ?1 ORDER BY rank, id LIMIT 1
"""
FIRST_OF_UPSTREAM: Final = f"""
    SELECT {_ENTRY} FROM content WHERE {_SEEN} AND upstream = ?2 AND queue = ?1
    ORDER BY rank, id LIMIT 1
"""
FILLED: Final = "SELECT coalesce(sum(size), 0) FROM shelf WHERE queue = ?1"
FILLED_OF_UPSTREAM: Final = """
    SELECT coalesce(sum(size), 0) FROM shelf WHERE queue = ?1 AND upstream = ?2
"""
ENTRY: Final = f"SELECT {_ENTRY}, state, upstream FROM content WHERE digest = ?1"
STRAYS: Final = f"""
    SELECT {_ENTRY}, upstream, uses FROM content WHERE {_SEEN} AND queue < ?1
    UNION ALL
    SELECT {_ENTRY}, upstream, uses FROM content WHERE {_SEEN} AND queue >= ?2
    LIMIT ?3
"""  # the queue's least name, the first name behind all of them, limit
STRAYS_OF_UPSTREAM: Final = f"""
    SELECT {_ENTRY}, upstream, uses FROM content WHERE {_SEEN} AND upstream = ?4 AND queue < ?1
    UNION ALL
    SELECT {_ENTRY}, upstream, uses FROM content WHERE {_SEEN} AND upstream = ?4 AND queue >= ?2
    LIMIT ?3
"""
PLACE: Final = "UPDATE content SET queue = ?2, rank = ?3, counted = ?4 WHERE digest = ?1"
EVICT: Final = f"""
    UPDATE content SET state = 'evicting' WHERE digest = ?1 AND {_SEEN} RETURNING {_CONTENT}
"""
COUNT_EVICTION: Final = """
    UPDATE usage SET evictions = evictions + 1, evicted_bytes = evicted_bytes + ?2
    WHERE upstream = ?1
"""
ITEMS: Final = "SELECT coalesce(sum(items), 0) FROM usage"
INFLATION: Final = """
    SELECT coalesce(max(value), 0) FROM inflation WHERE policy = ?1 AND scope IN ('', ?2)
"""  # policy, upstream
SET_INFLATION: Final = """
    INSERT OR REPLACE INTO inflation (policy, scope, value) VALUES (?1, ?2, ?3)
"""
REMEMBER: Final = "INSERT OR REPLACE INTO ghost (digest) VALUES (?1)"
TRIM_GHOSTS: Final = "DELETE FROM ghost WHERE id <= (SELECT max(id) FROM ghost) - ?1"
RECALL: Final = "DELETE FROM ghost WHERE digest = ?1"

# Upkeep

USE: Final = """
    UPDATE content SET uses = uses + ?2, used_at = max(used_at, ?3) WHERE digest = ?1
"""
VERIFIED: Final = """
    UPDATE content SET stamp = ?2, verified_at = ?3 WHERE digest = ?1 AND state = 'stored'
"""
DISTRUST: Final = """
    UPDATE content SET stamp = '' WHERE state = 'stored' AND stamp <> '' AND stored_at >=
        (SELECT max(max(stored_at, used_at)) FROM content WHERE state = 'stored') - ?1
"""  # within
_LATEST: Final = "max(stored_at, used_at, verified_at)"
AHEAD: Final = f"SELECT 1 FROM content WHERE {_LATEST} > ?1 LIMIT 1"
SET_BACK: Final = f"""
    UPDATE content SET queue = '', rank = 0, counted = 0, stored_at = min(stored_at, ?1),
        used_at = min(used_at, ?1), verified_at = min(verified_at, ?1)
    WHERE {_LATEST} > ?1
"""  # now
OLDEST_VERIFIED: Final = f"""
    SELECT {_CONTENT} FROM content WHERE state = 'stored' AND verified_at < ?2
    ORDER BY verified_at, id LIMIT ?1
"""  # limit, before
PIN: Final = "INSERT OR IGNORE INTO pin (digest) VALUES (?1)"
UNPIN: Final = "DELETE FROM pin WHERE digest = ?1"
SET_PINNED: Final = "UPDATE content SET pinned = ?2 WHERE digest = ?1"
_COUNTERS: Final = (
    "hits, misses, stale, coalesced, evictions, evicted_bytes, fetched_bytes, served_bytes"
)
COUNT: Final = f"""
    INSERT INTO usage (upstream, {_COUNTERS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (upstream) DO UPDATE SET
        hits = hits + excluded.hits,
        misses = misses + excluded.misses,
        stale = stale + excluded.stale,
        coalesced = coalesced + excluded.coalesced,
        evictions = evictions + excluded.evictions,
        evicted_bytes = evicted_bytes + excluded.evicted_bytes,
        fetched_bytes = fetched_bytes + excluded.fetched_bytes,
        served_bytes = served_bytes + excluded.served_bytes
"""
USAGE: Final = f"SELECT upstream, size, items, {_COUNTERS} FROM usage ORDER BY upstream"
CONTENTS: Final = f"SELECT {_CONTENT} FROM content WHERE digest > ?1 ORDER BY digest LIMIT ?2"
CONTENTS_OF_UPSTREAM: Final = f"""
    SELECT {_CONTENT} FROM content WHERE digest > ?1 AND upstream = ?3 ORDER BY digest LIMIT ?2
"""

# The file itself

META: Final = "SELECT value FROM meta WHERE key = ?1"
SET_META: Final = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)"
