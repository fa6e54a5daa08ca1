"""The contract of Ends: tags, digests and subjects lead to manifests."""

from dataclasses import replace

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, ManifestUnknown, NameUnknown
from entrepot.oci.reference import Tag
from entrepot.testing import example_images as examples
from entrepot.testing.image_end_contents import Place, blob_of, fill, reading, store, writing

NOWHERE = Digest.of(b"nowhere")


class NameTests:
    """Subclasses give the fixture `place`, where nothing has been written yet.

    `adds` says that writing again leaves what is there; else all is replaced.
    """

    adds = True
    finds_referrers = True

    async def test_a_tag_a_digest_and_the_only_image_are_found(self, place: Place) -> None:
        example = examples.image()
        await store(place, example, "1.0")
        for reference in (None, Tag("1.0"), example.root.digest):
            async with reading(place) as source:
                root = await source.resolve(reference)
                assert (root.digest, root.size) == (example.root.digest, example.root.size)
                assert await source.manifest(root) == example.content

    async def test_the_address_names_what_is_meant(self, place: Place) -> None:
        first, second = examples.image("first"), examples.image("second")
        async with writing(place) as target:
            await fill(target, first, "1.0")
            await fill(target, second, "2.0")
            await target.commit()
        async with reading(place, Tag("1.0")) as source:
            assert (await source.resolve()).digest == first.root.digest
            assert (await source.resolve(Tag("2.0"))).digest == second.root.digest
        async with reading(place, second.root.digest) as source:
            assert (await source.resolve()).digest == second.root.digest

    async def test_nothing_is_found_in_an_end_that_is_empty(self, place: Place) -> None:
        with pytest.raises((ManifestUnknown, NameUnknown)):
            async with reading(place) as source:
                await source.resolve()

    async def test_of_several_images_one_must_be_named(self, place: Place) -> None:
        async with writing(place) as target:
            await fill(target, examples.image("first"), "1.0")
            await fill(target, examples.image("second"), "2.0")
            await target.commit()
        async with reading(place) as source:
            with pytest.raises(ManifestUnknown, match=r"1\.0.*2\.0"):
                await source.resolve()

    async def test_an_unknown_tag_is_answered_with_those_there_are(self, place: Place) -> None:
        await store(place, examples.image(), "1.0")
        async with reading(place) as source:
            with pytest.raises(ManifestUnknown, match=r"1\.0"):
                await source.resolve(Tag("2.0"))

    async def test_what_is_not_there_is_unknown(self, place: Place) -> None:
        example = examples.image()
        await store(place, example, "1.0")
        async with reading(place) as source:
            with pytest.raises(ManifestUnknown, match=str(NOWHERE)):
                await source.resolve(NOWHERE)
            with pytest.raises(ManifestUnknown, match=str(NOWHERE)):
                await source.manifest(replace(example.root, digest=NOWHERE))
            with pytest.raises(BlobUnknown, match=str(NOWHERE)):
                await blob_of(source, Descriptor("text/plain", NOWHERE, 7))

    async def test_an_image_has_several_tags(self, place: Place) -> None:
        example = examples.image()
        await store(place, example, "latest", "1.0", "1")
        async with reading(place) as source:
            assert list(await source.tags()) == ["1", "1.0", "latest"]
            for tag in ("1", "1.0", "latest"):
                assert (await source.resolve(Tag(tag))).digest == example.root.digest
            assert (await source.resolve()).digest == example.root.digest

    async def test_tags_are_in_lexical_order(self, place: Place) -> None:
        names = ["b", "a", "_", "Z", "10", "9", "a.b", "a-b"]
        async with writing(place) as target:
            for name in names:
                await fill(target, examples.image(name), name)
            await target.commit()
        async with reading(place) as source:
            assert list(await source.tags()) == sorted(names)

    async def test_an_image_without_a_tag_is_found(self, place: Place) -> None:
        example = examples.image()
        await store(place, example)
        async with reading(place) as source:
            assert list(await source.tags()) == []
            assert (await source.resolve(example.root.digest)).digest == example.root.digest

    async def test_a_tag_moves(self, place: Place) -> None:
        old, new = examples.image("old"), examples.image("new")
        await store(place, old, "latest", "1.0")
        await store(place, new, "latest")
        async with reading(place) as source:
            assert (await source.resolve(Tag("latest"))).digest == new.root.digest
            if self.adds:
                assert list(await source.tags()) == ["1.0", "latest"]
                assert (await source.resolve(Tag("1.0"))).digest == old.root.digest

    async def test_a_tag_moves_within_one_writing(self, place: Place) -> None:
        old, new = examples.image("old"), examples.image("new")
        async with writing(place) as target:
            await fill(target, old, "latest")
            await fill(target, new, "latest")
            await target.commit()
        async with reading(place) as source:
            assert list(await source.tags()) == ["latest"]
            assert (await source.resolve(Tag("latest"))).digest == new.root.digest

    async def test_publishing_again_changes_nothing(self, place: Place) -> None:
        example = examples.image()
        async with writing(place) as target:
            await fill(target, example, "1.0")
            await fill(target, example, "1.0")
            await fill(target, example)
            await target.commit()
        async with reading(place) as source:
            assert list(await source.tags()) == ["1.0"]
            assert (await source.resolve()).digest == example.root.digest

    async def test_referrers_are_found_by_their_subject(self, place: Place) -> None:
        if not self.finds_referrers:
            pytest.skip("this End holds no referrers")
        subject, other = examples.image("subject"), examples.image("other")
        signature = examples.artifact(subject.root, examples.SIGNATURE, annotations={"by": "me"})
        sbom = examples.artifact(subject.root, examples.SBOM)
        async with writing(place) as target:
            await fill(target, subject, "1.0")
            await fill(target, other, "2.0")
            for one in (signature, sbom, examples.artifact(other.root)):
                await fill(target, one)
            await target.commit()
        async with reading(place) as source:
            found = await source.referrers(subject.root.digest)
            assert {one.digest for one in found} == {signature.root.digest, sbom.root.digest}
            (only,) = await source.referrers(subject.root.digest, examples.SIGNATURE)
            assert (only.digest, only.size) == (signature.root.digest, signature.root.size)
            assert only.artifact_type == examples.SIGNATURE
            assert only.annotations == {"by": "me"}
            assert await source.manifest(only) == signature.content

    async def test_a_referrer_does_not_make_an_image_ambiguous(self, place: Place) -> None:
        if not self.finds_referrers:
            pytest.skip("this End holds no referrers")
        subject = examples.image()
        async with writing(place) as target:
            await fill(target, subject, "1.0")
            await fill(target, examples.artifact(subject.root))
            await target.commit()
        async with reading(place) as source:
            assert (await source.resolve()).digest == subject.root.digest

    async def test_without_referrers_none_are_found(self, place: Place) -> None:
        example = examples.image()
        await store(place, example, "1.0")
        async with reading(place) as source:
            assert list(await source.referrers(example.root.digest)) == []
            assert list(await source.referrers(NOWHERE)) == []
