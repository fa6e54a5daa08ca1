"""The contract of Ends: nothing is visible before it is whole, and what broke off is continued."""

import asyncio
import tracemalloc
from typing import Final

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    ConnectionLost,
    DigestInvalid,
    ManifestUnknown,
    NameUnknown,
    RegistryError,
    SizeInvalid,
)
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import ImageTarget
from entrepot.testing import example_images as examples
from entrepot.testing.image_end_contents import (
    KIB,
    MIB,
    Place,
    ScriptedContent,
    blob,
    contents,
    expected,
    fill,
    generated,
    reading,
    store,
    writing,
)

LARGE: Final = bytes(range(253)) * (4 * MIB // 253 + 5)
"""A little more than 4 MiB."""

OTHER: Final = LARGE[::-1]
MOST_MEMORY: Final = 24 * MIB


class WriteTests:
    """Subclasses give the fixture `place`, where nothing has been written yet.

    `commits` says that nothing is visible before `commit`; `continues` that a blob which broke
    off is continued, also by another target; `one_stream` that a blob which failed is the end of
    the whole writing.
    """

    commits = False
    continues = True
    one_stream = False

    async def test_a_blob_is_there_once_it_is_whole(self, place: Place) -> None:
        content = blob(LARGE)
        async with writing(place) as target:
            assert not await target.has_blob(content.descriptor)
            await target.put_blob(content)
            assert await target.has_blob(content.descriptor)

    async def test_a_manifest_is_there_once_it_is_put(self, place: Place) -> None:
        example = examples.image()
        async with writing(place) as target:
            for descriptor, content in example.blobs.items():
                await target.put_blob(blob(content, descriptor))
            assert not await target.has_manifest(example.root)
            await target.put_manifest(example.root, example.content)
            assert await target.has_manifest(example.root)

    async def test_putting_again_is_no_error(self, place: Place) -> None:
        example = examples.image()
        async with writing(place) as target:
            await fill(target, example, "1.0")
            await fill(target, example, "1.0")
            await target.commit()
        async with reading(place) as source:
            assert await contents(source, example.root) == expected(example)

    async def test_wrong_bytes_are_refused_and_not_there(self, place: Place) -> None:
        wanted = blob(LARGE).descriptor
        async with writing(place) as target:
            with pytest.raises(DigestInvalid):
                await target.put_blob(blob(OTHER, wanted))
            assert not await target.has_blob(wanted)
            await self._completes(place, target, LARGE)

    @pytest.mark.parametrize("wrong", [LARGE[:-1], LARGE[:KIB], b"", LARGE + b"!", LARGE + LARGE])
    async def test_too_few_and_too_many_bytes_are_refused(self, place: Place, wrong: bytes) -> None:
        wanted = blob(LARGE).descriptor
        async with writing(place) as target:
            with pytest.raises(SizeInvalid):
                await target.put_blob(blob(wrong, wanted))
            assert not await target.has_blob(wanted)
            await self._completes(place, target, LARGE)

    @pytest.mark.parametrize("at", [0, 1, MIB, 3 * MIB + 1])
    async def test_what_breaks_off_is_not_there_and_the_next_attempt_completes(
        self, place: Place, at: int
    ) -> None:
        async with writing(place) as target:
            with pytest.raises(ConnectionLost):
                await target.put_blob(blob(LARGE, breaks_at=at))
            assert not await target.has_blob(blob(LARGE).descriptor)
            await self._completes(place, target, LARGE)

    async def test_another_target_completes_what_broke_off(self, place: Place) -> None:
        lost, again = blob(LARGE, breaks_at=3 * MIB), blob(LARGE)
        async with writing(place) as target:
            with pytest.raises(ConnectionLost):
                await target.put_blob(lost)
        async with writing(place) as target:
            assert not await target.has_blob(again.descriptor)
            await self._completes(place, target, LARGE, again)
        if self.continues:
            assert again.offsets == [3 * MIB]

    async def test_what_was_kept_is_continued(self, place: Place) -> None:
        if not self.continues:
            pytest.skip("this End begins anew")
        async with writing(place) as target:
            reached = 0
            for at in (MIB, 2 * MIB, 3 * MIB):
                content = blob(LARGE, breaks_at=at)
                with pytest.raises(ConnectionLost):
                    await target.put_blob(content)
                assert content.offsets == [reached]
                reached = at
            await self._completes(place, target, LARGE)

    async def test_what_was_kept_and_is_wrong_does_no_harm(self, place: Place) -> None:
        wanted = blob(LARGE).descriptor
        async with writing(place) as target:
            with pytest.raises(ConnectionLost):
                await target.put_blob(blob(OTHER, wanted, breaks_at=2 * MIB))
            await self._completes(place, target, LARGE)

    async def test_a_cancelled_blob_is_not_there_and_is_completed(self, place: Place) -> None:
        stalled = blob(LARGE, stalls_at=2 * MIB)
        async with writing(place) as target:
            task = asyncio.ensure_future(target.put_blob(stalled))
            await stalled.reached.wait()
            assert not await target.has_blob(stalled.descriptor)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not await target.has_blob(stalled.descriptor)
            await self._completes(place, target, LARGE)

    async def test_blobs_are_written_at_the_same_time(self, place: Place) -> None:
        layers = [bytes([number]) * (MIB + number) for number in range(6)]
        example = examples.image(layers=layers, compressed=False)
        async with writing(place) as target:
            await asyncio.gather(
                *(target.put_blob(blob(one, what)) for what, one in example.blobs.items())
            )
            await target.publish(example.root, example.content, [Tag("1.0")])
            await target.commit()
        async with reading(place) as source:
            assert await contents(source, example.root) == expected(example)

    async def test_one_blob_is_written_by_several_at_the_same_time(self, place: Place) -> None:
        example = examples.image(layers=[LARGE], compressed=False)
        async with writing(place) as target:
            await asyncio.gather(*(target.put_blob(blob(LARGE)) for _ in range(4)))
            await fill(target, example, "1.0")
            await target.commit()
        async with reading(place) as source:
            assert await contents(source, example.root) == expected(example)

    async def test_a_failed_blob_leaves_the_others(self, place: Place) -> None:
        example = examples.image(layers=[LARGE, b"small"], compressed=False)
        async with writing(place) as target:
            (*others, (layer, content)) = sorted(
                example.blobs.items(), key=lambda entry: entry[0].size
            )
            await asyncio.gather(*(target.put_blob(blob(one, what)) for what, one in others))
            with pytest.raises(ConnectionLost):
                await target.put_blob(blob(content, layer, breaks_at=MIB))
            if self.one_stream:
                with pytest.raises(RegistryError):
                    await target.put_blob(blob(content, layer))
                return
            await target.put_blob(blob(content, layer))
            await target.publish(example.root, example.content, [Tag("1.0")])
            await target.commit()
        async with reading(place) as source:
            assert await contents(source, example.root) == expected(example)

    async def test_manifests_are_verified(self, place: Place) -> None:
        example, other = examples.image(), examples.image("other")
        async with writing(place) as target:
            for descriptor, content in example.blobs.items():
                await target.put_blob(blob(content, descriptor))
            with pytest.raises(DigestInvalid):
                await target.put_manifest(example.root, other.content)
            with pytest.raises(DigestInvalid):
                await target.publish(example.root, other.content, [Tag("1.0")])
            assert not await target.has_manifest(example.root)

    async def test_nothing_is_named_before_it_is_published(self, place: Place) -> None:
        example = examples.image()
        async with writing(place) as target:
            for descriptor, content in example.blobs.items():
                await target.put_blob(blob(content, descriptor))
            await target.put_manifest(example.root, example.content)
            await self._is_unknown(place, Tag("1.0"))

    async def test_nothing_is_visible_before_the_commit(self, place: Place) -> None:
        if not self.commits:
            pytest.skip("this End publishes at once")
        async with writing(place) as target:
            await fill(target, examples.image(), "1.0")
            await self._is_unknown(place, Tag("1.0"))
            await target.commit()
            async with reading(place) as source:
                await source.resolve(Tag("1.0"))

    async def test_without_a_commit_nothing_is_left(self, place: Place) -> None:
        if not self.commits:
            pytest.skip("this End publishes at once")
        async with writing(place) as target:
            await fill(target, examples.image(), "1.0")
        await self._is_unknown(place, Tag("1.0"))

    async def test_without_a_commit_what_was_there_stays(self, place: Place) -> None:
        before = examples.image("before")
        await store(place, before, "1.0")
        async with writing(place) as target:
            await target.put_blob(blob(LARGE))
        async with reading(place) as source:
            assert await contents(source, await source.resolve(Tag("1.0"))) == expected(before)

    async def test_committing_and_closing_twice_is_no_error(self, place: Place) -> None:
        example = examples.image()
        target = await place.target()
        await fill(target, example, "1.0")
        for end in (target.commit, target.commit, target.close, target.close):
            await end()
        source = await place.source()
        assert await contents(source, await source.resolve()) == expected(example)
        for end in (source.close, source.close):
            await end()

    async def test_memory_is_constant(self, place: Place) -> None:
        content = generated(48)
        async with writing(place) as target:
            tracemalloc.start()
            try:
                await target.put_blob(content)
                assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
            finally:
                tracemalloc.stop()

    async def _completes(
        self,
        place: Place,
        target: ImageTarget,
        content: bytes,
        again: ScriptedContent | None = None,
    ) -> None:
        """Write an image with this layer, whose blob had failed, and read it out."""
        example = examples.image(layers=[content], compressed=False)
        if self.one_stream:
            return
        await target.put_blob(again or blob(content))
        await fill(target, example, "1.0")
        await target.commit()
        async with reading(place) as source:
            root = await source.resolve(Tag("1.0"))
            assert await contents(source, root) == expected(example)

    async def _is_unknown(self, place: Place, reference: Tag | Digest) -> None:
        with pytest.raises((ManifestUnknown, NameUnknown, BlobUnknown)):
            async with reading(place) as source:
                await source.resolve(reference)
