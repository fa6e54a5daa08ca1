"""What `entrepot cache ls` and `entrepot cache stats` print."""

import json
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from entrepot.cli.cache_places import (
    Target,
    age,
    moment,
    opened,
    repositories,
    short,
)
from entrepot.cli.output import human_size, print_lines, table
from entrepot.cli.upstream_places import Configured
from entrepot.client import Client
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Tag

if TYPE_CHECKING:
    from entrepot.ports.cache_index import CachedContent, CachedTag, Usage
    from entrepot.services.cache import Cache

Row = dict[str, Any]

_EVENTS = 50
_BATCH = 500


async def images(client: Client, known: Configured, words: Sequence[str]) -> list[Row]:
    """Return a row for each tag, and one for each repository that has none."""
    open_caches = await opened(client, known)
    targets = [open_caches.target(word) for word in words]
    rows = []
    for path, cache in open_caches.caches.items():
        for repository in await repositories(cache):
            chosen = [one for one in targets if one.holds(repository)]
            if chosen or not words:
                row = {"cache": str(path), "repository": repository}
                rows += [row | rest for rest in await _tags(cache, repository, chosen)]
    return rows


async def _tags(cache: "Cache", repository: str, chosen: Sequence[Target]) -> list[Row]:
    """Return what is shown of a repository: its tags, or that it has none."""
    tags = await cache.index.catalog.tags(repository)
    references = {one.reference for one in chosen}
    if not references or None in references:
        return [await _tag_row(cache, *one) for one in tags] or [_UNTAGGED]
    named = [one for one in tags if references & {one[0], one[1].digest}]
    return [await _tag_row(cache, *one) for one in named]


async def _tag_row(cache: "Cache", name: Tag, tag: "CachedTag") -> Row:
    from entrepot.oci.descriptor import Descriptor
    from entrepot.services.cached_images import CachedImages

    graph = await CachedImages(cache).graph(Descriptor(tag.media_type, tag.digest, tag.size))
    return {
        "tag": str(name),
        "digest": str(tag.digest),
        "media_type": tag.media_type,
        "size": graph.size,
        "state": graph.state,
        "pinned": graph.pinned,
        "checked_at": moment(tag.checked_at),
        "since": moment(tag.since),
        "age": max(0, int(time.time() - tag.checked_at)),
    }


_UNTAGGED: Row = {
    "tag": None,
    "digest": None,
    "media_type": None,
    "size": None,
    "state": None,
    "pinned": False,
    "checked_at": None,
    "since": None,
    "age": None,
}


def print_images(rows: Sequence[Row]) -> None:
    """Print tags for people."""
    now = time.time()
    shown = [
        (
            f"{row['repository']}:{row['tag']}" if row["tag"] else row["repository"],
            short(row["digest"] or "-"),
            "-" if row["age"] is None else age(now - row["age"], now),
            "-" if row["size"] is None else human_size(row["size"]),
            f"{row['state'] or 'no tags'}{', pinned' if row['pinned'] else ''}",
        )
        for row in rows
    ]
    print_lines(table([("IMAGE", "DIGEST", "CHECKED", "SIZE", "STATE"), *shown]))


async def contents(client: Client, known: Configured, words: Sequence[str]) -> list[Row]:
    """Return a row for each content, of the repositories and upstreams that are named."""
    open_caches = await opened(client, known)
    targets = [open_caches.target(word) for word in words]
    return [
        _content_row(str(path), one)
        for path, cache in open_caches.caches.items()
        async for one in _contents(cache, targets)
    ]


def _content_row(place: str, one: "CachedContent") -> Row:
    return {
        "cache": place,
        "digest": str(one.digest),
        "size": one.size,
        "state": one.state,
        "upstream": one.upstream,
        "pinned": one.pinned,
        "uses": one.uses,
        "stored_at": moment(one.stored_at),
        "used_at": moment(one.used_at),
        "verified_at": moment(one.verified_at),
    }


async def _contents(cache: "Cache", targets: Sequence[Target]) -> "AsyncIterator[CachedContent]":
    named = await _digests(cache, targets) if targets else None
    if named is not None:
        for digest in sorted(named, key=str):
            found = await cache.index.contents.find(digest)
            if found is not None:
                yield found
        return
    after = None
    while page := await cache.index.upkeep.contents(after=after, limit=_BATCH):
        for found in page:
            yield found
        after = page[-1].digest


async def _digests(cache: "Cache", targets: Sequence[Target]) -> set[Digest]:
    from entrepot.services.cached_images import CachedImages

    found = {one.reference for one in targets if isinstance(one.reference, Digest)}
    for repository in await repositories(cache):
        for target in targets:
            if not target.holds(repository) or isinstance(target.reference, Digest):
                continue
            if target.reference is None:
                found.update(await cache.index.catalog.links(repository))
            elif await cache.index.names.tag(repository, target.reference) is not None:
                root = await CachedImages(cache).root(repository, target.reference)
                found.update((await CachedImages(cache).graph(root)).descriptors)
    return found


def print_contents(rows: Sequence[Row]) -> None:
    """Print contents for people."""
    shown = [
        (
            row["digest"],
            human_size(row["size"]),
            row["upstream"],
            row["uses"],
            row["used_at"] or "-",
            f"{row['state']}{', pinned' if row['pinned'] else ''}",
        )
        for row in rows
    ]
    print_lines(table([("DIGEST", "SIZE", "UPSTREAM", "USES", "USED", "STATE"), *shown]))


async def statistics(client: Client, known: Configured, *, events: bool) -> list[Row]:
    """Return a row for each cache: what it takes and how it was used, by upstream and in all."""
    rows = []
    for path, cache in (await opened(client, known)).caches.items():
        usage = await cache.index.upkeep.usage()
        row: Row = {
            "cache": str(path),
            "limit": known.settings.cache.max_size,
            "free": shutil.disk_usage(path).free,
            "total": _counted([*usage.values()]),
            "upstreams": [
                {"upstream": name, "limit": _limit(known, name), **_counted([one])}
                for name, one in usage.items()
            ],
        }
        if events:
            row["events"] = [
                {
                    "at": moment(one.at),
                    "kind": one.kind,
                    "repository": one.repository,
                    "reference": one.reference,
                    "detail": one.detail,
                }
                for one in await cache.index.catalog.events(_EVENTS)
            ]
        rows.append(row)
    return rows


_COUNTERS = (
    "size",
    "items",
    "hits",
    "misses",
    "stale",
    "coalesced",
    "evictions",
    "evicted_bytes",
    "fetched_bytes",
    "served_bytes",
)


def _counted(usages: "Sequence[Usage]") -> Row:
    row: Row = {name: sum(getattr(one, name) for one in usages) for name in _COUNTERS}
    answers = row["hits"] + row["misses"] + row["stale"] + row["coalesced"]
    spared = answers - row["misses"]
    return row | {"hit_ratio": round(spared / answers, 4) if answers else None}


def _limit(known: Configured, upstream: str) -> int | None:
    found = known.upstreams.get(upstream)
    return None if found is None else found.max_size


def print_statistics(rows: Sequence[Row]) -> None:
    """Print statistics for people."""
    for row in rows:
        total = row["total"]
        limit = "no limit" if row["limit"] is None else f"limit {human_size(row['limit'])}"
        print(
            f"{row['cache']}: {human_size(total['size'])} in {total['items']} items; {limit}; "
            f"{human_size(row['free'])} free on the disk"
        )
        lines = [_line(one["upstream"], one["limit"], one) for one in row["upstreams"]]
        if len(lines) > 1:
            lines.append(_line("total", row["limit"], total))
        if lines:
            print_lines(table([_HEADINGS, *lines], indent="  "))
        for event in row.get("events", ()):
            where = f"{event['repository']} {event['reference']}"
            print(f"  {event['at']}  {event['kind']}  {where}: {event['detail']}")


_HEADINGS = (
    "UPSTREAM",
    "SIZE",
    "LIMIT",
    "ITEMS",
    "HITS",
    "MISSES",
    "RATIO",
    "STALE",
    "COALESCED",
    "EVICTIONS",
    "FETCHED",
    "SERVED",
)


def _line(name: str, limit: int | None, counted: Row) -> tuple[Any, ...]:
    ratio = counted["hit_ratio"]
    return (
        name,
        human_size(counted["size"]),
        "-" if limit is None else human_size(limit),
        counted["items"],
        counted["hits"],
        counted["misses"],
        "-" if ratio is None else f"{ratio:.0%}",
        counted["stale"],
        counted["coalesced"],
        counted["evictions"],
        human_size(counted["fetched_bytes"]),
        human_size(counted["served_bytes"]),
    )


def print_rows(rows: Sequence[Row]) -> None:
    """Print rows for programs: one JSON object per line."""
    print_lines(json.dumps(row, ensure_ascii=False) for row in rows)
