"""The contract of Ends: what goes in comes out, byte by byte."""

from typing import Final

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import Unsupported
from entrepot.oci.reference import Tag
from entrepot.testing import example_images as examples
from entrepot.testing.example_images import ExampleImage
from entrepot.testing.image_end_contents import (
    KIB,
    MIB,
    Place,
    blob,
    blob_of,
    contents,
    expected,
    fill,
    reading,
    store,
    writing,
)

LARGE: Final = bytes(range(251)) * (3 * MIB // 251 + 5)
"""A little more than 3 MiB, in which no two blocks are the same."""

SINGLE_IMAGES: Final = {
    "OCI": examples.image(),
    "Docker schema 2": examples.image(docker=True),
    "not compressed": examples.image(compressed=False),
    "unusual white space": examples.image(odd=True),
    "an empty layer": examples.image(layers=[b"", b"something"], compressed=False),
    "the same layer twice": examples.image(layers=[b"twice" * 99, b"once", b"twice" * 99]),
    "no layers": examples.image(layers=[]),
    "a large layer": examples.image(layers=[LARGE], compressed=False),
}


class RoundTripTests:
    """Subclasses give the fixture `place`, where nothing has been written yet."""

    holds_indexes = True
    holds_artifacts = True
    algorithms = ("sha256", "sha512")

    @pytest.mark.parametrize("kind", SINGLE_IMAGES)
    async def test_an_image_comes_back_byte_by_byte(self, place: Place, kind: str) -> None:
        await self._comes_back(place, SINGLE_IMAGES[kind])

    async def test_an_index_comes_back_with_its_images(self, place: Place) -> None:
        if not self.holds_indexes:
            pytest.skip("this End holds images only")
        await self._comes_back(place, examples.index(odd=True))

    async def test_an_index_of_indexes_comes_back(self, place: Place) -> None:
        if not self.holds_indexes:
            pytest.skip("this End holds images only")
        inner = examples.index()
        outer = examples.index((examples.HERE, inner), (examples.ELSEWHERE, examples.image("more")))
        await self._comes_back(place, outer)

    async def test_what_cannot_be_held_is_refused_with_a_way_out(self, place: Place) -> None:
        if self.holds_indexes:
            pytest.skip("this End holds indexes")
        async with writing(place) as target:
            with pytest.raises(Unsupported, match="platform"):
                await fill(target, examples.index(), "1.0")

    async def test_an_artifact_comes_back(self, place: Place) -> None:
        if not self.holds_artifacts:
            pytest.skip("this End holds images only")
        await self._comes_back(place, examples.artifact())

    async def test_sha512_comes_back(self, place: Place) -> None:
        if "sha512" not in self.algorithms:
            pytest.skip("this End knows sha256 only")
        await self._comes_back(place, examples.image(algorithm="sha512"))

    async def test_several_images_come_back(self, place: Place) -> None:
        first, second = examples.image("first"), examples.image("second", odd=True)
        async with writing(place) as target:
            await fill(target, first, "1.0")
            await fill(target, second, "2.0")
            await target.commit()
        for tag, example in (("1.0", first), ("2.0", second)):
            async with reading(place) as source:
                root = await source.resolve(Tag(tag))
                assert await contents(source, root) == expected(example)

    async def test_images_may_share_blobs(self, place: Place) -> None:
        shared = b"shared" * 99
        first = examples.image("first", layers=[shared, b"1"])
        second = examples.image("second", layers=[b"2", shared])
        async with writing(place) as target:
            await fill(target, first, "1.0")
            await fill(target, second, "2.0")
            await target.commit()
        async with reading(place) as source:
            assert await contents(source, second.root) == expected(second)
            assert await contents(source, first.root) == expected(first)

    @pytest.mark.parametrize("offset", [0, 1, 100 * KIB, MIB, MIB + 1, len(LARGE) - 1, len(LARGE)])
    async def test_a_blob_is_read_from_an_offset(self, place: Place, offset: int) -> None:
        example = SINGLE_IMAGES["a large layer"]
        await store(place, example, "1.0")
        async with reading(place) as source:
            await source.resolve()
            assert await blob_of(source, example.layers[0], offset) == LARGE[offset:]

    async def test_a_reader_may_stop_early_and_begin_again(self, place: Place) -> None:
        example = SINGLE_IMAGES["a large layer"]
        await store(place, example, "1.0")
        async with reading(place) as source:
            await source.resolve()
            for _ in range(3):
                chunks = source.blob(example.layers[0])
                assert LARGE.startswith(await anext(chunks))
                await chunks.aclose()  # type: ignore[attr-defined]
            assert await blob_of(source, example.layers[0]) == LARGE

    @pytest.mark.parametrize("chunk", [7, 64 * KIB, 5 * MIB])
    async def test_chunks_may_have_any_size(self, place: Place, chunk: int) -> None:
        content = LARGE if chunk > KIB else LARGE[: 9 * KIB]
        example = examples.image(layers=[content], compressed=False)
        async with writing(place) as target:
            for descriptor, layer in example.blobs.items():
                await target.put_blob(blob(layer, descriptor, chunk=chunk))
            await target.publish(example.root, example.content, [Tag("1.0")])
            await target.commit()
        async with reading(place) as source:
            assert await contents(source, example.root) == expected(example)

    async def _comes_back(self, place: Place, example: ExampleImage) -> None:
        await store(place, example, "1.0")
        async with reading(place) as source:
            root = await source.resolve()
            assert (root.digest, root.size) == (example.root.digest, example.root.size)
            assert root.media_type == example.root.media_type
            assert await contents(source, root) == expected(example)
        assert Digest.of(example.content, root.digest.algorithm) == root.digest
