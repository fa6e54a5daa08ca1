"""Caches from their settings: content, spools and index of one directory, put together."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

from entrepot.adapters.cache_indexes.sqlite import SqliteCacheIndex
from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.config.proxy import CacheSettings
from entrepot.ports.clock import Clock
from entrepot.ports.mirror_books import MirrorBooks
from entrepot.rules.eviction_policies import policy_named
from entrepot.services.cache import Cache
from entrepot.services.cache_use import CacheUse


async def open_cache(
    path: Path, settings: CacheSettings, *, books: MirrorBooks, clock: Clock, stack: AsyncExitStack
) -> Cache:
    """Open the cache at `path`, making it if it is not there; the `stack` closes it.

    Raise Unavailable, StoreFull or OSError.
    """
    await asyncio.to_thread(os.makedirs, path, exist_ok=True)
    content = FilesystemContentStore(path, durable=False)
    stack.push_async_callback(content.close)
    spools = content.spools()
    stack.push_async_callback(spools.close)
    index = await SqliteCacheIndex.open(path / "index.db", clock=clock)
    stack.push_async_callback(index.close)
    policy = policy_named(settings.policy, settings.content_ttl)
    use = CacheUse(index.upkeep, policy, books, clock)
    return Cache(content, spools, index, use, policy, settings.max_size, books, clock)
