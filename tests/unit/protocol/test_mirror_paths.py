import pytest

from entrepot.protocol.mirror_paths import split
from entrepot.protocol.routes import parse

D256 = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("path", "prefix", "rest"),
    [
        ("/docker.io/v2/library/alpine/tags/list", "docker.io", "/v2/library/alpine/tags/list"),
        ("/docker.io/v2/", "docker.io", "/v2/"),
        ("/docker.io/v2", "docker.io", "/v2"),
        ("/hub/v2/a/tags/list", "hub", "/v2/a/tags/list"),
        ("/my_hub/v2/a/tags/list", "my_hub", "/v2/a/tags/list"),
        ("/Docker.IO/v2/a/tags/list", "docker.io", "/v2/a/tags/list"),
        ("/localhost:5000/v2/a/tags/list", "localhost:5000", "/v2/a/tags/list"),
        ("/localhost%3A5000/v2/a/tags/list", "localhost:5000", "/v2/a/tags/list"),
        ("/[::1]:5000/v2/a/tags/list", "[::1]:5000", "/v2/a/tags/list"),
        ("/%5B::1%5D:5000/v2/a/tags/list", "[::1]:5000", "/v2/a/tags/list"),
        ("/v2/localhost:5000/a/tags/list", "localhost:5000", "/v2/a/tags/list"),
        ("/v2/localhost%3a5000/a/tags/list", "localhost:5000", "/v2/a/tags/list"),
        (f"/v2/h.example:443/a/b/blobs/{D256}", "h.example:443", f"/v2/a/b/blobs/{D256}"),
        ("/v2/[::1]:5000/a/tags/list", "[::1]:5000", "/v2/a/tags/list"),
        ("/docker.io/v2/localhost:5000/tags/list", "docker.io", "/v2/localhost:5000/tags/list"),
    ],
)
def test_a_registry_in_a_path_is_taken_out(path: str, prefix: str, rest: str) -> None:
    """PX-01: in front of /v2/, or as a first segment with a port."""
    assert split(path) == (prefix, rest)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/",
        "/v2",
        "/v2/_catalog",
        "/v2/docker.io/library/alpine/manifests/3",
        "/v2/v2/manifests/v2",
        "/v2/a/v2/manifests/x",
        f"/v2/a/blobs/{D256}",
        f"/v2/blobs/{D256}",
        "/v2/a/blobs/sha256%3A" + "0" * 64,
        "/v2/localhost:5000",
        "/v2/localhost:99999/a/tags/list",
        "/v2/localhost:/a/tags/list",
        "/v2/:5000/a/tags/list",
        "/v2/a%2fb:5000/c/tags/list",
        "/v2/a%2eb/c/tags/list",
        "/v2/../a:1/tags/list",
        "/v2//a/tags/list",
        "//v2/a/tags/list",
        "/../v2/a/tags/list",
        "/./v2/a/tags/list",
        "/a/b/v2/c/tags/list",
        "/a%2Fb/v2/c/tags/list",
        "/a%00/v2/c/tags/list",
        "/a\r\nb/v2/c/tags/list",
        "/a b/v2/c/tags/list",
        "/-a/v2/c/tags/list",
        "/ä/v2/c/tags/list",
        "/user@host/v2/c/tags/list",
        "/docker.io/v2x/c/tags/list",
        "/docker.io/v3/c/tags/list",
        "docker.io/v2/c/tags/list",
        "/metrics",
        "/",
        "",
        "/" + "a" * 301 + "/v2/c/tags/list",
        "/v2/" + "a" * 300 + ":1/c/tags/list",
    ],
    ids=lambda path: path[:40],
)
def test_any_other_path_stays_as_it_is(path: str) -> None:
    assert split(path) == ("", path)


def test_what_is_left_is_a_route() -> None:
    assert str(parse(split("/v2/localhost:5000/x/manifests/y")[1]).name) == "x"  # type: ignore[union-attr]
