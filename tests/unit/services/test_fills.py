"""What becomes of a blob's writer when something else fails, and what a fill takes of the cache
before its upstream has told anything. Rows CA-01, CA-03 and PX-07."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, cast

import pytest

from entrepot.bootstrap.caches import open_cache
from entrepot.config.proxy import CacheSettings
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid, RegistryError, StoreFull, Unavailable
from entrepot.oci.reference import RepositoryName
from entrepot.ports.image_end import Sink
from entrepot.ports.mirror_books import NoBooks
from entrepot.rules.sources import Mirrored
from entrepot.services.cache import Cache, Charge
from entrepot.services.fills import Fill, Fills
from entrepot.services.mirror_place import MirrorPlace, MirrorRules
from entrepot.services.mirrored_blobs import MirroredBlobs
from entrepot.services.upstream import Upstream
from tests.unit.services.conftest import SetClock

CONTENT: Final = bytes(range(256)) * 400
DIGEST: Final = Digest.of(CONTENT)
SOURCE: Final = Mirrored("hub.test", RepositoryName.parse("team/app"))


class Arriving:
    """An answer that sends these bytes."""

    url = "http://hub.test"
    start = 0

    def __init__(self, content: bytes, size: int | None) -> None:
        self.size = size
        self._content = content

    async def pour(self, sink: Sink) -> None:
        await asyncio.to_thread(sink, memoryview(self._content))


class OneBlob:
    """An upstream with one blob, which may be another than it says."""

    name = "hub.test"

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.asked = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        yield

    @asynccontextmanager
    async def blob(self, *_: object, avoid: object = ()) -> AsyncIterator[Arriving]:
        self.asked += 1
        yield Arriving(self.content, len(CONTENT))


class Untold(OneBlob):
    """One that does not say how large it is."""

    @asynccontextmanager
    async def blob(self, *_: object, avoid: object = ()) -> AsyncIterator[Arriving]:
        yield Arriving(self.content, None)


class Purging(OneBlob):
    """One whose repository is purged before its bytes come."""

    def __init__(self, cache: Cache) -> None:
        super().__init__()
        self._cache = cache

    @asynccontextmanager
    async def blob(self, *_: object, avoid: object = ()) -> AsyncIterator[Arriving]:
        async with super().blob() as arriving:
            yield PurgedFirst(arriving, self._cache)


class PurgedFirst(Arriving):
    def __init__(self, arriving: Arriving, cache: Cache) -> None:
        super().__init__(CONTENT, arriving.size)
        self._cache = cache

    async def pour(self, sink: Sink) -> None:
        assert await self._cache.index.names.blob(SOURCE.repository, DIGEST) is not None
        await self._cache.index.catalog.purge(SOURCE.repository)
        await super().pour(sink)


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[Cache]:
    async with AsyncExitStack() as stack:
        yield await open_cache(
            tmp_path, CacheSettings(), books=NoBooks(), clock=SetClock(), stack=stack
        )


async def ended(cache: Cache, upstream: OneBlob, size: int | None = len(CONTENT)) -> Fill:
    """Fill, and return the fill once it has ended."""
    place = MirrorPlace(cast("Upstream", upstream), cache, MirrorRules())
    fill = Fills(lambda: 0.0).start(place, SOURCE, DIGEST, size)
    async with asyncio.timeout(10):
        await fill.ended.wait()
    return fill


async def full(*_: object, **__: object) -> Any:
    raise StoreFull("no space is left for the index")


@pytest.mark.parametrize("what", ["purge", "record"])
async def test_an_index_that_is_full_leaves_no_writer_behind(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Telling of an upstream that lied fails; who asks next fetches the blob anew."""
    with monkeypatch.context() as patch:
        patch.setattr(cache.index.catalog, what, full)
        wrong = OneBlob(CONTENT + b"more than was told")
        fill = await ended(cache, wrong)
        assert isinstance(fill.error, RegistryError)
        assert not isinstance(fill.error, DigestInvalid)
    assert await cache.spools.follow(DIGEST) is None
    assert (await ended(cache, OneBlob())).error is None
    assert await cache.find(DIGEST) is not None


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "dropped"])
async def test_a_writer_ends_even_where_no_turn_can_be_had(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    """As where the process has no descriptor left."""
    writer = await cache.begin(DIGEST, len(CONTENT), Charge("hub.test"))
    assert writer is not None
    writer.write(memoryview(CONTENT)[:5000])
    with monkeypatch.context() as patch:
        patch.setattr(type(cache.spools), "turn", no_turn)
        with pytest.raises(Unavailable, match="descriptors"):
            await cache.give_up(DIGEST, writer, Unavailable("the upstream went"), keep=keep)
    with pytest.raises(Unavailable, match="the upstream went"):
        async with asyncio.timeout(10):
            await writer.spool.available(90_000)
    assert await cache.spools.follow(DIGEST) is None
    again = await cache.begin(DIGEST, len(CONTENT), Charge("hub.test"))
    assert again is not None
    assert again.offset == 5000
    await again.release()


@asynccontextmanager
async def no_turn(self: object, key: str) -> AsyncIterator[None]:
    raise Unavailable("no descriptors are left")
    yield


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO], ids=errno.errorcode.get)
async def test_what_cannot_be_read_now_is_not_dropped(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """CA-08: that a file cannot be opened says nothing of its bytes."""
    assert (await ended(cache, OneBlob())).error is None
    found = await cache.find(DIGEST)
    assert found is not None
    opened = os.open

    def refusing(path: Any, *arguments: Any, **named: Any) -> int:
        if str(path).endswith(DIGEST.hex):
            raise OSError(number, os.strerror(number))
        return opened(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        with pytest.raises(Unavailable, match="cannot be read"):
            await cache.verify(found)
    assert await cache.find(DIGEST) is not None


async def test_a_size_that_was_never_true_is_believed_no_longer_than_its_manifest(
    cache: Cache,
) -> None:
    """The link of a fill that failed does not outweigh a manifest that is right."""
    upstream, names = Untold(), cache.index.names
    place = MirrorPlace(cast("Upstream", upstream), cache, MirrorRules())
    assert isinstance((await ended(cache, upstream, len(CONTENT) + 10)).error, Unavailable)
    assert await names.blob(SOURCE.repository, DIGEST) == len(CONTENT) + 10
    right = Descriptor("application/octet-stream", DIGEST, len(CONTENT))
    await names.expect(SOURCE.repository, [right], at=cache.clock.now())
    blobs = MirroredBlobs(Fills(lambda: 0.0))
    await blobs.ensure(place, SOURCE, DIGEST)
    found = await cache.find(DIGEST)
    assert found is not None
    assert found.size == len(CONTENT)
    assert (await blobs.get(place, SOURCE, DIGEST)).size == len(CONTENT)
    assert await names.blob(SOURCE.repository, DIGEST) == len(CONTENT)


async def test_what_was_purged_while_it_came_is_linked_in_the_end(cache: Cache) -> None:
    assert (await ended(cache, Purging(cache))).error is None
    assert await cache.index.names.blob(SOURCE.repository, DIGEST) == len(CONTENT)
