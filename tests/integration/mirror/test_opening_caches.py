"""Caches are opened once, mended before they are used, and tried again where they cannot be."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from entrepot.bootstrap import SystemClock
from entrepot.bootstrap import proxy as opening
from entrepot.bootstrap.proxy import OpenedProxy, opened_proxy
from entrepot.config import load
from entrepot.oci.errors import Unavailable
from entrepot.ports.mirror_books import NoBooks
from entrepot.services.cache import Cache
from entrepot.services.cache_upkeep import CacheUpkeep


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[OpenedProxy]:
    """An open mirror without any upstream: no cache is open yet."""
    file = tmp_path / "entrepot.toml"
    file.write_text("[proxy]\nopen = true\n")
    settings = load(file, {}, {"storage.path": tmp_path})
    async with opened_proxy(settings, environ={}, books=NoBooks(), clock=SystemClock()) as proxy:
        yield proxy


async def test_strangers_who_come_at_once_share_one_cache_that_is_mended_first(
    proxy: OpenedProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovered = list[Cache]()
    recover = CacheUpkeep.recover

    async def noting(upkeep: CacheUpkeep) -> int:
        mended = await recover(upkeep)
        recovered.append(upkeep.cache)
        return mended

    monkeypatch.setattr(CacheUpkeep, "recover", noting)
    assert not list(proxy.caches())

    async def one(name: str) -> Cache:
        async with proxy.place(name) as place:
            assert recovered
            return place.cache

    found = await asyncio.gather(*(one(f"stranger{number}.example") for number in range(5)))
    assert all(cache is found[0] for cache in found)
    assert recovered == [found[0]] == list(proxy.caches())


async def test_what_could_not_be_put_in_force_is_tried_again(
    proxy: OpenedProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once."""
    told = list[str]()
    monkeypatch.setattr(proxy._log, "error", lambda event, **_: told.append(event))

    async def full(*_: Any, **__: Any) -> Any:
        raise Unavailable("the cache cannot be opened")

    proxy._file.write_text('[upstreams."new.example"]\n')
    with monkeypatch.context() as patch:
        patch.setattr(opening, "open_cache", full)
        assert not await proxy.look()
        assert not await proxy.look()
    assert told == ["upstreams not changed"]
    assert await proxy.look()
    assert "new.example" in proxy.upstreams
    assert not await proxy.look()
