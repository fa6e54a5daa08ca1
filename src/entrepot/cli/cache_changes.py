"""What `entrepot cache purge`, `pin`, `unpin` and `verify` do."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from entrepot.cli import progress
from entrepot.cli.cache_places import OpenCaches, existing, nothing, opened
from entrepot.cli.failures import warn
from entrepot.cli.output import human_size
from entrepot.cli.upstream_places import Configured
from entrepot.client import Client
from entrepot.oci.digest import Digest
from entrepot.oci.errors import NameUnknown

if TYPE_CHECKING:
    from entrepot.ports.cache_index import CachedContent
    from entrepot.services.cache import Cache
    from entrepot.services.cache_verification import Verification
    from entrepot.services.purging import Purged, Purging

Row = dict[str, Any]


async def purge(
    client: Client, known: Configured, words: Sequence[str], *, pinned: bool
) -> "Purged":
    """Purge what the words name, or everything without any; return what that did.

    Raise NameUnknown, purging nothing behind it, for a word that is not in the cache.
    """
    from entrepot.services.purging import Purged, Purging

    open_caches, done = await opened(client, known), Purged()
    everywhere = [Purging(cache, pinned) for cache in open_caches.caches.values()]
    if not words:
        for one in everywhere:
            done += await one.purge_all()
    for word in words:
        purged = Purged()
        for one in everywhere:
            purged += await _purge(open_caches, one, word)
        if purged == Purged():
            raise NameUnknown(f"{word} is not in the cache; `entrepot cache ls` lists what is")
        done += purged
    return done


async def _purge(open_caches: OpenCaches, purging: "Purging", word: str) -> "Purged":
    target = open_caches.target(word)
    if target.repository.endswith("/"):
        return await purging.purge_all(target.repository[:-1])
    if not target.repository:
        assert isinstance(target.reference, Digest), "without a repository it is a digest"
        return await purging.purge_digest(target.reference)
    return await purging.purge(target.repository, target.reference)


def print_purged(done: "Purged") -> None:
    """Print what a purge has done, for people."""
    print(f"forgot {_count(done.names, 'name')}; removed {_contents(done.contents, done.size)}")
    if done.kept:
        stay = "stays, for it is pinned" if done.kept == 1 else "stay, for they are pinned"
        print(f"{_count(done.kept, 'content')} {stay}; --pinned removes that, too")


async def pin(
    client: Client, known: Configured, words: Sequence[str], *, pinned: bool
) -> list[Row]:
    """Pin or unpin all that each word leads to; return what that was."""
    from entrepot.services.cached_images import CachedImages

    open_caches = await opened(client, known)
    rows = []
    for word in words:
        cache, root, repository = await open_caches.find(word)
        graph = await CachedImages(cache).graph(root)
        changed = await cache.index.upkeep.pin(list(graph.descriptors), pinned)
        rows.append(
            {
                "image": word,
                "repository": repository,
                "digest": str(root.digest),
                "pinned": pinned,
                "changed": changed,
                "contents": len(graph.stored),
                "size": graph.size,
                "state": graph.state,
            }
        )
    return rows


def print_pinned(rows: Iterable[Row]) -> None:
    """Print what was pinned or unpinned, for people."""
    for row in rows:
        done = "pinned" if row["pinned"] else "unpinned"
        print(f"{done} {row['image']}: {_contents(row['contents'], row['size'])}")
        if row["pinned"] and row["state"] != "stored":
            warn(
                f"only a part of {row['image']} is in the cache; `entrepot cache warm --pin` "
                "fetches and pins all of it"
            )


async def verify(
    client: Client, known: Configured, word: str | None, *, again: bool
) -> "Verification":
    """Compare the caches, or one image, with their digests; with `again` fetch what was wrong."""
    from entrepot.services.cache_verification import CacheVerification, Verification, repair

    done = Verification()
    if not existing(known):
        warn(nothing(known))
        return done
    open_caches = await opened(client, known)
    mirror = (await client.proxy(known.settings)).proxy.mirror if again else None
    only = None if word is None else await _image(open_caches, word)
    with progress.shown(quiet=not sys.stderr.isatty()) as report:
        for cache in open_caches.caches.values():
            if only is None or only[0] is cache:
                before = len(done.corrupt)
                chosen = None if only is None else only[1]
                await CacheVerification(cache).verify(done, report, chosen)
                if mirror is not None and len(done.corrupt) > before:
                    await repair(mirror, cache, done)
    return done


async def _image(open_caches: OpenCaches, word: str) -> "tuple[Cache, list[CachedContent]]":
    from entrepot.services.cached_images import CachedImages

    cache, root, _ = await open_caches.find(word)
    graph = await CachedImages(cache).graph(root)
    return cache, list(graph.stored.values())


def print_verification(done: "Verification") -> None:
    """Print what was found, for people."""
    print(f"{_contents(done.checked, done.size)} compared with their digests")
    for digest in done.corrupt:
        failed = done.failed.get(digest)
        became = "fetched again" if digest in done.repaired else "dropped"
        print(f"{digest}: wrong; {became}" + (f" ({failed.message})" if failed else ""))
    for digest, error in done.failed.items():
        if digest not in done.corrupt:
            print(f"{digest}: not compared ({error.message})")
    if not done.corrupt:
        print("the others are right" if done.failed else "all of them are right")


def verification_row(done: "Verification") -> Row:
    """Return what was found, for programs."""
    return {
        "checked": done.checked,
        "size": done.size,
        "corrupt": [str(digest) for digest in done.corrupt],
        "repaired": [str(digest) for digest in done.repaired],
        "failed": {
            str(digest): {"code": error.code, "message": error.message}
            for digest, error in done.failed.items()
        },
    }


def _contents(count: int, size: int) -> str:
    return f"{_count(count, 'content')} ({human_size(size)})"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
