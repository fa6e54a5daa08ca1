"""What a browser makes of a mirror's answers: nothing that comes from an upstream is a page of this
server, so that no upstream's script runs with this server's name."""

from typing import Final

import pytest

from entrepot.testing import Exchange, MockRegistry, Reply
from tests.integration.mirror.conftest import StartMirror
from tests.mirrors import UPSTREAM

NAME: Final = "team/app"
SCRIPT: Final = b'{"name": "<script>alert(document.domain)</script>"}'


async def as_a_page(_: Exchange) -> Reply:
    return Reply.of(200, SCRIPT, {"Content-Type": "text/html"})


@pytest.mark.parametrize("path", ["tags/list", f"referrers/sha256:{'a' * 64}"])
def test_no_list_of_an_upstream_is_a_page(
    start_mirror: StartMirror, registry: MockRegistry, path: str
) -> None:
    registry.add_image(NAME, "1")
    registry.fault(as_a_page, path=f"*/{path}")
    with start_mirror(registry).client() as client:
        response = client.get(f"/v2/{UPSTREAM}/{NAME}/{path}")
    assert (response.status, response.body) == (200, SCRIPT)
    assert "json" in (response.header("Content-Type") or "")


def test_no_browser_guesses_what_an_answer_is(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    image = registry.add_image(NAME, "1")
    mirror = f"/v2/{UPSTREAM}/{NAME}"
    with start_mirror(registry).client() as client:
        for target in (
            f"{mirror}/manifests/1",
            f"{mirror}/manifests/none",
            f"{mirror}/blobs/{image.layers[0].digest}",
            f"{mirror}/tags/list",
            "/v2/",
            "/v2/_catalog",
            "/v2/nothing/here",
            "/",
            "/nothing",
            "/token",
            "/metrics",
            "/_/stats",
        ):
            response = client.get(target)
            assert response.all("X-Content-Type-Options") == ["nosniff"], target
