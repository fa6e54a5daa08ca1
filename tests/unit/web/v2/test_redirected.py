import json

import pytest

from entrepot.oci.digest import Digest
from entrepot.rules.source_routing import Route, RoutingTable
from entrepot.services.redirects import Redirects, Site
from tests.unit.web.redirecting import RedirectFace, ask, location

UPSTREAM = "https://us-central1-docker.pkg.dev/v2/oci-proxy/oci-proxy-images/"
HUB = "https://registry-1.docker.io/v2/"
DIGEST = Digest.of(b"blob")
READABLE = (
    "app/manifests/1.0.0",
    f"app/manifests/{DIGEST}",
    f"app/blobs/{DIGEST}",
    "a/b/c/tags/list",
    f"app/referrers/{DIGEST}",
)
NAMED = Route.of("docker.io", mode="redirect", deny=["secret/*"])
TABLE = RoutingTable.of([NAMED], everything=Route.of("home", mode="redirect"))


class Everywhere:
    """Object storage that has everything."""

    async def has(self, url: str) -> bool:
        return True


@pytest.fixture
def face() -> RedirectFace:
    sites = [Site("near", "https://near.example/{digest}", ("10.1.0.0/16",))]
    redirects = Redirects({"home": UPSTREAM, "docker.io": HUB}, sites=sites, check=Everywhere())
    return RedirectFace(TABLE, redirects, trusted=["192.0.2.0/24"])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", READABLE, ids=lambda path: path[:14])
async def test_reads_are_sent_to_the_upstream(face: RedirectFace, method: str, path: str) -> None:
    """RD-02: the rest of the path behind the upstream's URL, and the query with it."""
    answer = await ask(face, f"/v2/{path}?n=1&last=%2F&ns=home", method=method)
    assert (answer.status, answer.headers) == (
        307,
        [("Location", f"{UPSTREAM}{path}?n=1&last=%2F")],
    )
    assert answer.body.length == 0


async def test_an_upstream_of_its_own_is_found_by_its_name(face: RedirectFace) -> None:
    for target in ("/v2/docker.io/alpine/tags/list", "/docker.io/v2/library/alpine/tags/list"):
        assert location(await ask(face, target)) == f"{HUB}library/alpine/tags/list"
    assert location(await ask(face, "/v2/alpine/tags/list?ns=docker.io")) == (
        f"{HUB}library/alpine/tags/list"
    )


async def test_an_escaped_digest_is_the_same_digest(face: RedirectFace) -> None:
    escaped = str(DIGEST).replace(":", "%3A")
    assert location(await ask(face, f"/v2/app/blobs/{escaped}")) == f"{UPSTREAM}app/blobs/{DIGEST}"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"])
@pytest.mark.parametrize("path", READABLE, ids=lambda path: path[:14])
async def test_nothing_is_written_through(face: RedirectFace, method: str, path: str) -> None:
    """RD-03"""
    answer = await ask(face, f"/v2/{path}", method=method)
    assert (answer.status, location(answer)) == (405, None)
    assert ("Allow", "GET, HEAD") in answer.headers


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "PUT", "DELETE"])
async def test_no_upload_is_begun(face: RedirectFace, method: str) -> None:
    """RD-03"""
    for path in ("/v2/app/blobs/uploads/", "/v2/app/blobs/uploads/session"):
        answer = await ask(face, path, method=method)
        assert (answer.status, location(answer)) == (405, None)


@pytest.mark.parametrize(
    "target",
    [
        "/v2/_catalog",
        "/v2/../etc/passwd",
        "/v2/a/../b/manifests/x",
        "/v2/a/%2e%2e/b/manifests/x",
        "/v2/a%2fb/manifests/x",
        "/v2/a%2Fb/tags/list",
        "/v2//evil.example/manifests/x",
        "/v2/a/manifests/..",
        "/v2/a/manifests/%2e%2e",
        "/v2/a/manifests/x%2f..%2fy",
        "/v2/a/manifests/x%0d%0aSet-Cookie:%20a=b",
        "/v2/a/manifests/x\r\nSet-Cookie: a=b",
        "/v2/a\r\n/tags/list",
        "/v2/a/manifests/",
        "/v2/a/blobs/sha256:short",
        "/v2/a/blobs/latest",
        "/v2/a/referrers/x",
        "/v2/A/manifests/x",
        "/v2/a/manifests/x/y",
        "/v2/a/tags",
        "/v2/user@evil.example:1/manifests/x",
        "/v2/evil.example:5000/a/manifests/x",
        "/evil.example/v2/a/manifests/x",
        "/v2/a/manifests/x?a=b\r\nSet-Cookie: a=b",
        "/v2/a/manifests/x?a b",
        "/v2/docker.io/secret/x/manifests/y",
        "/v2/" + "a" * 300 + "/manifests/x",
        "/v1/search",
        "/",
    ],
    ids=range(29),
)
async def test_nothing_odd_leads_anywhere(face: RedirectFace, target: str) -> None:
    """RD-03: only paths of the spec are forwarded; the answer says what is wrong."""
    answer = await ask(face, target)
    assert 400 <= answer.status < 500
    assert location(answer) is None
    assert json.loads(answer.body.content)["errors"]  # type: ignore[union-attr]
    assert not [value for _, value in answer.headers if "\r" in value or "\n" in value]


@pytest.mark.parametrize(
    ("client", "forwarded", "near"),
    [
        ("10.1.0.1", [], True),
        ("203.0.113.9", ["10.1.0.1"], False),
        ("192.0.2.1", ["10.1.0.1"], True),
        ("192.0.2.1", ["10.1.0.1, 203.0.113.9"], False),
        ("192.0.2.1", ["203.0.113.9", "10.1.0.1"], True),
        ("", ["10.1.0.1"], True),
    ],
    ids=["peer", "spoofed", "trusted", "spoofed behind", "two fields", "socket"],
)
async def test_blobs_are_sent_to_what_is_near(
    face: RedirectFace, client: str, forwarded: list[str], near: bool
) -> None:
    """RD-05: the client's address is what trusted hops say."""
    fields = [("x-forwarded-for", value) for value in forwarded]
    answer = await ask(face, f"/v2/app/blobs/{DIGEST}", headers=fields, client=client)
    expected = f"https://near.example/{DIGEST}" if near else f"{UPSTREAM}app/blobs/{DIGEST}"
    assert (answer.status, location(answer)) == (307, expected)
