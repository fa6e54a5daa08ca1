"""Answers for mirrored names: what they are is said here, whatever the upstream calls them."""

import json
from typing import Any, Final, cast

import pytest

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import RegistryError, Unavailable
from entrepot.oci.reference import RepositoryName
from entrepot.ports.delivery import Delivery, Inline
from entrepot.ports.upstream_endpoint import ListPage
from entrepot.protocol import routes
from entrepot.rules.sources import Mirrored
from entrepot.services.mirror import Mirror
from entrepot.services.mirror_place import MirroredManifest
from entrepot.web.message import Response
from entrepot.web.v2 import mirrored
from tests.unit.web.requests import document, header, request

SOURCE: Final = Mirrored("hub.test", RepositoryName("team/app"))
SCRIPT: Final = b'{"name": "<script>alert(1)</script>"}'
DIGEST: Final = Digest.of(SCRIPT)
TAGS: Final = "/v2/hub.test/team/app/tags/list"
REFERRERS: Final = f"/v2/hub.test/team/app/referrers/{DIGEST}"


class OneAnswer:
    """A mirror whose upstream sends the same to every question, and calls it a page."""

    def __init__(self, content: bytes, media_type: str = "text/html") -> None:
        self._content = content
        self._media_type = media_type

    async def page(self, *_: object) -> ListPage:
        return ListPage(self._content, self._media_type)

    async def known_tags(self, _: Mirrored, error: RegistryError) -> tuple[str, ...]:
        raise error

    async def manifest(self, *_: object, **__: object) -> MirroredManifest:
        async def open_range(offset: int, length: int) -> Delivery:
            return Inline(self._content[offset : offset + length])

        descriptor = Descriptor(self._media_type, DIGEST, len(self._content))
        return MirroredManifest(descriptor, open_range)


async def ask(mirror: OneAnswer, target: str) -> Response:
    route: Any = routes.parse(target)
    return await mirrored.answer(cast(Mirror, mirror), request(target), SOURCE, route)


@pytest.mark.parametrize(
    ("target", "media_type"),
    [
        pytest.param(TAGS, "application/json", id="tags"),
        pytest.param(REFERRERS, media_types.OCI_INDEX, id="referrers"),
    ],
)
async def test_a_list_is_json_whatever_the_upstream_calls_it(target: str, media_type: str) -> None:
    response = await ask(OneAnswer(SCRIPT), target)
    assert (response.status, header(response, "content-type")) == (200, media_type)
    assert document(response) == json.loads(SCRIPT)


@pytest.mark.parametrize("target", [pytest.param(TAGS, id="tags"), pytest.param(REFERRERS, id="r")])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"{<script>alert(1)</script>", id="no JSON"),
        pytest.param(b'["a"]', id="no object"),
        pytest.param(b'{"tags": ["\xff"]}', id="no UTF-8"),
        pytest.param(b'{"tags": ' + b"[" * 100_000, id="deep"),
        pytest.param(b'{"tags": ["' + b"a" * mirrored.MAX_PAGE + b'"]}', id="large"),
    ],
)
async def test_what_is_no_list_is_not_passed_on(content: bytes, target: str) -> None:
    with pytest.raises(Unavailable, match=r"hub\.test"):
        await ask(OneAnswer(content, "application/json"), target)


async def test_a_long_list_is_passed_on_as_it_came() -> None:
    content = json.dumps({"name": "team/app", "tags": [f"v{n}" for n in range(50_000)]}).encode()
    response = await ask(OneAnswer(content), TAGS)
    assert response.body == Inline(content)


@pytest.mark.parametrize(
    ("media_type", "shown"),
    [
        (media_types.OCI_INDEX, media_types.OCI_INDEX),
        (media_types.DOCKER_MANIFEST, media_types.DOCKER_MANIFEST),
        ("text/html", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
    ],
)
async def test_a_manifest_is_called_one_or_only_bytes(media_type: str, shown: str) -> None:
    response = await ask(OneAnswer(SCRIPT, media_type), "/v2/hub.test/team/app/manifests/v1")
    assert (response.status, header(response, "content-type")) == (200, shown)
