"""An upstream's endpoint: every registry's manners, one attempt, the truth about what failed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from entrepot.adapters.remotes.upstream_endpoint import HttpEndpoint
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    ConnectionLost,
    Denied,
    DigestInvalid,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameUnknown,
    RegistryError,
    SizeInvalid,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from entrepot.oci.reference import Tag
from entrepot.ports.upstream_endpoint import Exchanged, TellsLocation, UpstreamEndpoint
from entrepot.testing import MockRegistry
from entrepot.testing.mock_connection_faults import (
    Delay,
    DropConnection,
    Reset,
    Slow,
    Stall,
    Truncate,
)
from entrepot.testing.mock_faults import (
    BadJson,
    Challenge,
    Endless,
    Headers,
    HtmlError,
    NoDigestHeader,
    NoLength,
    NoRange,
    RateLimited,
    RedirectLoop,
    RedirectTo,
    ServerError,
    Status,
    WrongContentType,
    WrongDigest,
    WrongLength,
    WrongRange,
)
from entrepot.testing.mock_images import MockImage
from entrepot.testing.mock_presets import PRESETS
from tests.integration.remotes.upstreams import opened, read
from tests.remote_registries import name

NAME = "tests/one"
TAG = Tag("latest")
USERS = {"ann": "wonderland"}
PRIVATE = {"ecr", "cloudflare", "acr"}
NOWHERE = Digest.of(b"nowhere")


@pytest.fixture
def image(mock: MockRegistry) -> MockImage:
    return mock.add_image(NAME, "latest", layers=2, layer_size=200_000)


def layer(image: MockImage) -> Digest:
    return image.layers[0].digest


class TestManners:
    """PX-04, BE-01 … BE-06: each public registry as its protocol is documented."""

    @pytest.mark.parametrize("preset", sorted(PRESETS.keys() & PRIVATE))
    async def test_who_serves_nobody_without_a_login_says_so(
        self, mock: MockRegistry, image: MockImage, preset: str
    ) -> None:
        mock.preset(preset, users=USERS)
        async with opened(mock.url) as endpoint:
            with pytest.raises(Unauthorized, match="set its username and password"):
                await endpoint.manifest(name(), TAG)

    @pytest.mark.parametrize(
        ("preset", "login"),
        [
            *((preset, True) for preset in sorted(PRESETS)),
            *((preset, False) for preset in sorted(PRESETS.keys() - PRIVATE)),
        ],
    )
    async def test_an_image_is_pulled_through(
        self, mock: MockRegistry, image: MockImage, preset: str, login: bool
    ) -> None:
        made = mock.preset(preset, users=USERS)
        account = {"username": "ann", "password": "wonderland"} if login else {}
        async with opened(mock.url, **account) as endpoint:
            described = await endpoint.head(name(), TAG)
            assert described.digest == image.digest
            assert await endpoint.manifest(name(), TAG) == (described, image.manifest)
            assert (await endpoint.manifest(name(), image.digest))[1] == image.manifest
            for blob in image.blobs:
                assert await endpoint.blob_size(name(), blob.digest) == blob.size
                assert await read(endpoint, blob.digest) == mock.blob(blob.digest)
                rest = await read(endpoint, blob.digest, 100)
                assert rest == mock.blob(blob.digest)[100:]
        if made.storage is not None:
            assert {one.authorization for one in made.storage.requests} == {None}

    async def test_it_is_what_the_port_asks_for(self, mock: MockRegistry) -> None:
        async with opened(mock.url) as endpoint:
            as_port: UpstreamEndpoint = endpoint
            assert isinstance(as_port, TellsLocation)
            assert endpoint.url == mock.url
            assert (await endpoint.ping()).authorised

    async def test_a_blob_is_asked_for_by_one_get(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        async with opened(mock.url) as endpoint, endpoint.blob(name(), layer(image)) as blob:
            assert (blob.start, blob.size) == (0, image.layers[0].size)
        assert [one.method for one in mock.requests] == ["GET"]
        assert mock.requests[0].header("accept-encoding") == "identity"

    async def test_fifty_pulls_need_one_token_and_an_expired_one_is_fetched_anew(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        """PX-04"""
        tokens = mock.require_token("odd-case", users=USERS, elsewhere=True)
        async with opened(mock.url) as endpoint:
            await asyncio.gather(*(endpoint.manifest(name(), TAG) for _ in range(25)))
            for _ in range(25):
                await endpoint.manifest(name(), TAG)
            assert len(tokens.requests) == 1
            tokens.expire()
            await endpoint.manifest(name(), TAG)
            assert len(tokens.requests) == 2

    async def test_a_budget_is_told_also_when_it_is_used_up(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        """BE-01: Docker Hub's limit, which HEAD does not touch."""
        mock.preset("docker.io")
        async with opened(mock.url) as endpoint:
            for _ in range(100):
                await endpoint.manifest(name(), TAG)
            assert endpoint.rate_limit is not None
            assert (endpoint.rate_limit.limit, endpoint.rate_limit.remaining) == (100, 0)
            with pytest.raises(TooManyRequests, match="100 requests in 21600 s"):
                await endpoint.manifest(name(), TAG)
            assert (await endpoint.head(name(), TAG)).digest == image.digest

    async def test_head_may_lack_anything(self, mock: MockRegistry, image: MockImage) -> None:
        for missing in (
            NoDigestHeader(),
            Headers({"Content-Length": None}),
            WrongContentType(),
            Status(401),
            Status(405),
        ):
            fault = mock.fault(missing, method="HEAD", times=None)
            async with opened(mock.url) as endpoint:
                assert await endpoint.head(name(), TAG) == image.descriptor
            fault.remove()

    async def test_every_exchange_is_told_without_secrets(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        mock.preset("docker.io")
        seen: list[Exchanged] = []
        async with opened(mock.url, exchanges=seen) as endpoint:
            await read(endpoint, layer(image))
            mock.stop()
            with pytest.raises(ConnectionLost):
                await endpoint.head(name(), TAG)
        assert [one.status for one in seen] == [401, 200, 307, 200, 0]
        assert seen[-1].error
        assert not [secret for secret in mock.secrets if secret in repr(seen)]


class TestBlobs:
    async def test_a_part_is_a_part_and_says_the_whole_size(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        async with opened(mock.url) as endpoint:
            async with endpoint.blob(name(), layer(image), 1000) as blob:
                assert (blob.start, blob.size) == (1000, image.layers[0].size)
            assert await read(endpoint, layer(image), 1000) == mock.blob(layer(image))[1000:]

    @pytest.mark.parametrize(
        "fault",
        [NoRange(), Status(416), WrongRange(honest=True), Headers({"Content-Range": None})],
        ids=["ignored", "refused", "another", "unsaid"],
    )
    async def test_where_ranges_do_not_work_all_comes(
        self, mock: MockRegistry, image: MockImage, fault: Any
    ) -> None:
        ranged = mock.fault(
            fault, when=lambda request: request.header("range") is not None, times=None
        )
        async with opened(mock.url) as endpoint:
            async with endpoint.blob(name(), layer(image), 1000) as blob:
                assert (blob.start, blob.size) == (0, image.layers[0].size)
            assert await read(endpoint, layer(image), 1000) == mock.blob(layer(image))
        assert ranged.applied == 2

    async def test_a_size_that_is_not_told_is_none(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        mock.fault(NoLength(), times=None)
        async with opened(mock.url) as endpoint, endpoint.blob(name(), layer(image)) as blob:
            assert blob.size is None

    async def test_what_a_part_leaves_out_is_lost(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        size = image.layers[0].size
        mock.fault(Status(206, {"Content-Range": f"bytes 10-13/{size}"}, b"1234"), method="GET")
        found = bytearray()
        async with opened(mock.url) as endpoint, endpoint.blob(name(), layer(image), 10) as blob:
            with pytest.raises(ConnectionLost, match="up to byte 14"):
                await blob.pour(found.extend)
        assert found == b"1234"

    @pytest.mark.parametrize("fault", [Truncate(70_000), Reset(70_000)], ids=["ended", "reset"])
    async def test_a_sink_has_all_that_came_before_the_connection_broke(
        self, mock: MockRegistry, image: MockImage, fault: Any
    ) -> None:
        mock.fault(fault)
        found = bytearray()
        async with opened(mock.url) as endpoint:
            async with endpoint.blob(name(), layer(image)) as blob:
                with pytest.raises(ConnectionLost):
                    await blob.pour(found.extend)
            rest = await read(endpoint, layer(image), len(found))
        assert len(found) > 0
        assert bytes(found) + rest == mock.blob(layer(image))

    async def test_the_first_bytes_are_given_at_once(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        standing = mock.fault(Stall(after_bytes=500))
        loop, first = asyncio.get_running_loop(), asyncio.Event()
        found = bytearray()

        def take(piece: memoryview) -> None:
            found.extend(piece)
            loop.call_soon_threadsafe(first.set)

        async with opened(mock.url) as endpoint, endpoint.blob(name(), layer(image)) as blob:
            pouring = asyncio.create_task(blob.pour(take))
            async with asyncio.timeout(5):
                await first.wait()
            assert len(found) == 500  # and they did not wait for more, which never comes
            standing.release()
            await pouring
        assert bytes(found) == mock.blob(layer(image))

    async def test_a_sink_that_raises_ends_the_blob(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        def full(_: memoryview) -> None:
            raise OSError("no room")

        async with opened(mock.url) as endpoint, endpoint.blob(name(), layer(image)) as blob:
            with pytest.raises(OSError, match="no room"):
                await blob.pour(full)

    async def test_an_empty_blob(self, mock: MockRegistry) -> None:
        empty = mock.add_blob(NAME, b"").digest
        async with opened(mock.url) as endpoint:
            assert await endpoint.blob_size(name(), empty) == 0
            assert await read(endpoint, empty) == b""


class TestLocations:
    """PX-05: redirects are followed, or told."""

    async def test_where_a_redirect_leads_is_told_and_not_asked(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        storage = mock.preset("docker.io").storage
        assert storage is not None
        async with opened(mock.url, follow_redirects=False) as endpoint:
            place = await endpoint.location(name(), layer(image))
            assert place is not None
            assert place.startswith(f"{storage.url}/objects/sha256/")
            with pytest.raises(Unsupported, match="not followed"):
                await read(endpoint, layer(image))
        assert storage.requests == []

    async def test_what_is_not_redirected_has_no_other_place(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        async with opened(mock.url, follow_redirects=False) as endpoint:
            assert await endpoint.location(name(), layer(image)) is None
            assert await read(endpoint, layer(image)) == mock.blob(layer(image))
        assert mock.requests[0].bytes_sent == 1

    async def test_a_redirect_within_the_registry_is_no_other_place(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        mock.preset("gar", users=USERS)
        async with opened(mock.url) as endpoint:
            assert await endpoint.location(name(), layer(image)) is None

    async def test_nobody_is_sent_where_nothing_should_be_asked(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        mock.fault(RedirectTo("ftp://127.0.0.1/{digest}"), times=None)
        async with opened(mock.url) as endpoint:
            with pytest.raises(Denied, match="not followed"):
                await endpoint.location(name(), layer(image))

    async def test_what_is_not_there_is_unknown(self, mock: MockRegistry, image: MockImage) -> None:
        async with opened(mock.url) as endpoint:
            with pytest.raises(BlobUnknown):
                await endpoint.location(name(), NOWHERE)


Ask = Callable[[HttpEndpoint, MockImage], Any]

MANIFEST: Ask = lambda endpoint, image: endpoint.manifest(name(), image.digest)  # noqa: E731
BY_TAG: Ask = lambda endpoint, image: endpoint.manifest(name(), TAG)  # noqa: E731
HEAD: Ask = lambda endpoint, image: endpoint.head(name(), TAG)  # noqa: E731
BLOB: Ask = lambda endpoint, image: read(endpoint, layer(image))  # noqa: E731
SIZE: Ask = lambda endpoint, image: endpoint.blob_size(name(), layer(image))  # noqa: E731
PAGE: Ask = lambda endpoint, image: endpoint.page(name(), "tags/list", "")  # noqa: E731
QUESTIONS = {
    "manifest": MANIFEST, "tag": BY_TAG, "head": HEAD, "blob": BLOB, "size": SIZE, "page": PAGE,
}  # fmt: skip

ANYWHERE: dict[str, tuple[Any, type[RegistryError]]] = {
    "500": (ServerError(500), Unavailable),
    "502": (HtmlError(502), Unavailable),
    "503": (ServerError(503, {"Retry-After": "7"}), Unavailable),
    "504": (ServerError(504), Unavailable),
    "429": (RateLimited(retry_after=9), TooManyRequests),
    "dropped": (DropConnection(), ConnectionLost),
    "reset": (DropConnection(reset=True), ConnectionLost),
    "circle": (RedirectLoop(), Unavailable),
}

FAULTS: dict[str, tuple[Any, str, type[RegistryError]]] = {
    "manifest of other bytes": (WrongDigest(), "manifest", DigestInvalid),
    "tag of other bytes": (WrongDigest(), "tag", DigestInvalid),
    "manifest cut": (Truncate(10), "manifest", ConnectionLost),
    "manifest of bad JSON": (BadJson(), "manifest", DigestInvalid),
    "manifest too short": (WrongLength(5), "manifest", ConnectionLost),
    "manifest without end": (Endless(), "manifest", ManifestTooLarge),
    "sign-in page": (HtmlError(200), "tag", ManifestInvalid),
    "sign-in page for a list": (HtmlError(200), "page", Unavailable),
    "blob cut": (Truncate(10), "blob", ConnectionLost),
    "blob reset": (Reset(10), "blob", ConnectionLost),
    "blob shorter than told": (WrongLength(5), "blob", ConnectionLost),
    "login wanted": (Challenge('Basic realm="x"'), "manifest", Unauthorized),
    "no challenge": (Challenge(), "blob", Unauthorized),
    "forbidden": (Status(403), "blob", Denied),
    "451": (Status(451), "manifest", Denied),
}  # fmt: skip


class TestFailures:
    @pytest.mark.parametrize("question", QUESTIONS)
    @pytest.mark.parametrize("trouble", ANYWHERE)
    async def test_a_failure_is_told_at_once_and_not_repeated(
        self, mock: MockRegistry, image: MockImage, trouble: str, question: str
    ) -> None:
        fault, error = ANYWHERE[trouble]
        async with opened(mock.url) as endpoint:
            failing = mock.fault(fault, path="/v2/?*", times=None)
            with pytest.raises(error) as caught:
                await QUESTIONS[question](endpoint, image)
        assert failing.applied == (1 if trouble != "circle" else failing.applied)
        told = {"503": 7.0, "429": 9.0}.get(trouble)
        assert caught.value.detail.get("retry_after") == told
        assert "--" not in caught.value.message
        assert "entrepot login" not in caught.value.message

    @pytest.mark.parametrize("case", FAULTS)
    async def test_what_is_wrong_is_named(
        self, mock: MockRegistry, image: MockImage, case: str
    ) -> None:
        fault, question, error = FAULTS[case]
        async with opened(mock.url) as endpoint:
            failing = mock.fault(fault, path="/v2/?*", times=None)
            with pytest.raises(error):
                await QUESTIONS[question](endpoint, image)
        assert failing.applied == 1

    async def test_wrong_bytes_of_a_blob_are_for_its_reader_to_find(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        mock.fault(WrongDigest())
        async with opened(mock.url) as endpoint:
            assert Digest.of(await read(endpoint, layer(image))) != layer(image)

    async def test_more_bytes_than_a_part_has_are_refused(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        mock.fault(Endless(), times=None)
        async with opened(mock.url) as endpoint:
            with pytest.raises(SizeInvalid, match="more bytes"):
                await read(endpoint, layer(image), 10)

    async def test_what_stands_still_is_left(self, mock: MockRegistry, image: MockImage) -> None:
        standing = mock.fault(Stall(at="head"), times=None, path="/v2/?*")
        async with opened(mock.url, stall_timeout=0.4) as endpoint:
            await endpoint.ping()
            with pytest.raises(ConnectionLost, match=r"no answer for 0\.4 s"):
                await endpoint.head(name(), TAG)
        assert standing.applied == 1
        mock.heal()

    @pytest.mark.parametrize("slow", [Delay(0.05), Slow(2_000_000)], ids=["late", "slow"])
    async def test_slow_is_no_failure(
        self, mock: MockRegistry, image: MockImage, slow: Any
    ) -> None:
        mock.fault(slow, times=None)
        async with opened(mock.url, stall_timeout=1.0) as endpoint:
            assert await read(endpoint, layer(image)) == mock.blob(layer(image))

    async def test_a_token_is_asked_for_twice_and_no_more(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        tokens = mock.require_token(elsewhere=True)
        stumble = tokens.fault(ServerError(503, {"Retry-After": "4"}), times=None)
        async with opened(mock.url) as endpoint:
            with pytest.raises(Unavailable) as caught:
                await endpoint.head(name(), TAG)
            assert caught.value.detail["retry_after"] == 4.0
            assert stumble.applied == 1  # it asks for more patience than anybody has
            stumble.remove()
            tokens.fault(DropConnection(), times=1)
            assert (await endpoint.head(name(), TAG)).digest == image.digest


class TestUnknown:
    async def test_what_is_not_there_has_its_own_error(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        async with opened(mock.url) as endpoint:
            with pytest.raises(ManifestUnknown):
                await endpoint.head(name(), Tag("no-such"))
            with pytest.raises(ManifestUnknown):
                await endpoint.manifest(name(), NOWHERE)
            with pytest.raises(BlobUnknown):
                await read(endpoint, NOWHERE)
            with pytest.raises(BlobUnknown):
                await endpoint.blob_size(name(), NOWHERE)
            with pytest.raises(NameUnknown):
                await endpoint.page(name("no/such"), "tags/list", "")

    @pytest.mark.parametrize("code", ["MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND", ""])
    async def test_whatever_word_the_registry_has_for_it(
        self, mock: MockRegistry, image: MockImage, code: str
    ) -> None:
        body = b'{"errors":[{"code":"%s"}]}' % code.encode() if code else b"<html>404</html>"
        mock.fault(Status(404, body=body), times=None, path="/v2/?*")
        async with opened(mock.url) as endpoint:
            with pytest.raises(ManifestUnknown):
                await endpoint.manifest(name(), TAG)
            with pytest.raises(BlobUnknown):
                await read(endpoint, layer(image))


class TestPages:
    async def test_tags_are_passed_on_with_the_way_to_the_next_page(
        self, mock: MockRegistry
    ) -> None:
        for tag in ("a", "b", "c"):
            mock.add_image(NAME, tag, layers=0)
        async with opened(mock.url) as endpoint:
            first = await endpoint.page(name(), "tags/list", "n=2")
            assert b'"a"' in first.content
            assert first.media_type.startswith("application/json")
            second = await endpoint.page(name(), "tags/list", first.next_query)
            assert b'"c"' in second.content
            assert second.next_query == ""

    async def test_referrers_are_passed_on(self, mock: MockRegistry, image: MockImage) -> None:
        mock.add_artifact(NAME, subject=image.descriptor, artifact_type="application/x.one")
        async with opened(mock.url) as endpoint:
            page = await endpoint.page(
                name(), f"referrers/{image.digest}", "artifactType=application/x.one"
            )
        assert page.media_type == "application/vnd.oci.image.index.v1+json"
        assert page.filters_applied == "artifactType"

    @pytest.mark.parametrize(
        ("link", "following"),
        [
            ("</v2/tests/one/tags/list?last=b&n=2>; rel=next", "last=b&n=2"),
            ("<http://other.example/prefix/v2/tests/one/tags/list?last=b>; rel=next", "last=b"),
            ("<?last=b>; rel=next", "last=b"),
            ("<tags/list?last=b>; rel=prev", ""),
        ],
        ids=["path", "elsewhere", "query", "previous"],
    )
    async def test_only_the_query_of_a_link_counts(
        self, mock: MockRegistry, image: MockImage, link: str, following: str
    ) -> None:
        mock.fault(Headers({"Link": link}))
        async with opened(mock.url) as endpoint:
            assert (await endpoint.page(name(), "tags/list", "n=2")).next_query == following

    @pytest.mark.parametrize(
        "link",
        [
            "</v2/tests/two/tags/list?last=b>; rel=next",
            "</v2/tests/one/tags/list?n=2>; rel=next",
            "</v2/tests/one/tags/list?last=%s>; rel=next" % ("b" * 5000),
        ],
        ids=["another list", "the same page", "without measure"],
    )
    async def test_a_link_to_something_else_is_refused(
        self, mock: MockRegistry, image: MockImage, link: str
    ) -> None:
        mock.fault(Headers({"Link": link}))
        async with opened(mock.url) as endpoint:
            with pytest.raises(Unavailable, match="next page"):
                await endpoint.page(name(), "tags/list", "n=2")

    @pytest.mark.parametrize(
        ("path", "query"),
        [
            ("tags/list", "n=1\r\nX: y"),
            ("tags/list", "a b"),
            ("tags/list", "n=1#x"),
            ("blobs/uploads/", ""),
            ("../x/tags/list", ""),
            ("referrers/sha256:zz", ""),
        ],
    )
    async def test_nothing_else_is_asked_for(
        self, mock: MockRegistry, path: str, query: str
    ) -> None:
        async with opened(mock.url) as endpoint:
            with pytest.raises(Unsupported):
                await endpoint.page(name(), path, query)
        assert mock.requests == []
