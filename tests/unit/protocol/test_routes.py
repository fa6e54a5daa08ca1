import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUploadUnknown,
    DigestInvalid,
    NameInvalid,
    RegistryError,
    TagInvalid,
)
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.protocol import routes

D256 = "sha256:" + "0123456789abcdef" * 4
D512 = "sha512:" + "0123456789abcdef" * 8
DIGEST = Digest.parse(D256)
A = RepositoryName("a")
DEEP = RepositoryName("a/b/c/d/e/f")


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2", routes.Base()),
        ("/v2/", routes.Base()),
        ("/v2/_catalog", routes.Catalog()),
        ("/v2/a/tags/list", routes.TagsList(A)),
        ("/v2/a/b/c/d/e/f/tags/list", routes.TagsList(DEEP)),
        (f"/v2/a/blobs/{D256}", routes.Blob(A, DIGEST)),
        (f"/v2/a/blobs/{D512}", routes.Blob(A, Digest.parse(D512))),
        (f"/v2/a/b/c/d/e/f/blobs/{D256}", routes.Blob(DEEP, DIGEST)),
        ("/v2/a/blobs/uploads/", routes.StartUpload(A)),
        ("/v2/a/blobs/uploads", routes.StartUpload(A)),
        ("/v2/a/blobs/uploads/Az0_-", routes.Upload(A, "Az0_-")),
        ("/v2/a/manifests/latest", routes.Manifest(A, Tag("latest"))),
        ("/v2/a/manifests/v1.0", routes.Manifest(A, Tag("v1.0"))),
        (f"/v2/a/manifests/{D256}", routes.Manifest(A, DIGEST)),
        (f"/v2/a/referrers/{D256}", routes.Referrers(A, DIGEST)),
    ],
)
def test_every_endpoint_has_a_route(path: str, route: routes.Route) -> None:
    assert routes.parse(path) == route


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2/v2/tags/list", routes.TagsList(RepositoryName("v2"))),
        ("/v2/tags/list/tags/list", routes.TagsList(RepositoryName("tags/list"))),
        ("/v2/a/manifests/tags/list", routes.TagsList(RepositoryName("a/manifests"))),
        ("/v2/blobs/uploads/tags/list", routes.TagsList(RepositoryName("blobs/uploads"))),
        (f"/v2/blobs/blobs/{D256}", routes.Blob(RepositoryName("blobs"), DIGEST)),
        (
            f"/v2/a/blobs/uploads/blobs/{D256}",
            routes.Blob(RepositoryName("a/blobs/uploads"), DIGEST),
        ),
        ("/v2/a/blobs/blobs/uploads/", routes.StartUpload(RepositoryName("a/blobs"))),
        ("/v2/uploads/blobs/uploads/x", routes.Upload(RepositoryName("uploads"), "x")),
        (
            "/v2/blobs/uploads/blobs/uploads/uploads",
            routes.Upload(RepositoryName("blobs/uploads"), "uploads"),
        ),
        (
            "/v2/a/manifests/manifests/manifests",
            routes.Manifest(RepositoryName("a/manifests"), Tag("manifests")),
        ),
        ("/v2/a/manifests/uploads", routes.Manifest(A, Tag("uploads"))),
        (f"/v2/referrers/referrers/{D256}", routes.Referrers(RepositoryName("referrers"), DIGEST)),
    ],
)
def test_a_repository_may_be_named_as_an_endpoint(path: str, route: routes.Route) -> None:
    assert routes.parse(path) == route


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1/",
        "v2/",
        "//v2/",
        "/V2/",
        "/v2x",
        "/v2/a",
        "/v2/a/",
        "/v2/a/b",
        "/v2/_catalog/",
        "/v2/a/_catalog",
        "/v2/tags",
        "/v2/a/tags",
        "/v2/a/tags/",
        "/v2/a/tags/list/",
        "/v2/a/tags/other",
        "/v2/a/uploads/x",
        "/v2/a/manifests",
        "/v2/a/blobs/uploads/x/",
        f"/v2/a/blobs/{D256}/",
        f"/v2/a/layers/{D256}",
    ],
)
def test_a_path_that_is_no_endpoint_has_no_route(path: str) -> None:
    assert routes.parse(path) is None


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (f"/v2/blobs/{D256}", NameInvalid),
        (f"/v2//blobs/{D256}", NameInvalid),
        ("/v2/manifests/latest", NameInvalid),
        ("/v2/tags/list", NameInvalid),
        ("/v2/blobs/uploads/", NameInvalid),
        ("/v2/blobs/uploads/x", NameInvalid),
        (f"/v2/referrers/{D256}", NameInvalid),
        ("/v2/A/tags/list", NameInvalid),
        ("/v2/a//b/tags/list", NameInvalid),
        ("/v2/a/../b/tags/list", NameInvalid),
        ("/v2/a/../../etc/passwd/manifests/x", NameInvalid),
        ("/v2/a%2Fb/tags/list", NameInvalid),
        ("/v2/a%2fb/manifests/x", NameInvalid),
        ("/v2/%61/manifests/x", NameInvalid),
        ("/v2/a\0/manifests/x", NameInvalid),
        (f"/v2/{'a' * 256}/tags/list", NameInvalid),
        ("/v2/a/blobs/", DigestInvalid),
        ("/v2/a/blobs/latest", DigestInvalid),
        ("/v2/a/blobs/sha256:baddigeststring", DigestInvalid),
        ("/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", DigestInvalid),
        (f"/v2/a/blobs/{D256.upper()}", DigestInvalid),
        ("/v2/a/blobs/..%2f..%2fetc%2fpasswd", DigestInvalid),
        ("/v2/a/blobs/sha256%253A" + "0" * 64, DigestInvalid),
        ("/v2/a/manifests/sha256:baddigeststring", DigestInvalid),
        ("/v2/a/manifests/:", DigestInvalid),
        ("/v2/a/referrers/latest", DigestInvalid),
        ("/v2/a/referrers/", DigestInvalid),
        ("/v2/a/manifests/", TagInvalid),
        ("/v2/a/manifests/.hidden", TagInvalid),
        ("/v2/a/manifests/..", TagInvalid),
        (f"/v2/a/manifests/{'x' * 129}", TagInvalid),
        ("/v2/a/manifests/a%2Fb", TagInvalid),
        ("/v2/a/manifests/%", TagInvalid),
        ("/v2/a/manifests/%ff", TagInvalid),
        ("/v2/a/blobs/uploads/a.b", BlobUploadUnknown),
        ("/v2/a/blobs/uploads/..", BlobUploadUnknown),
        (f"/v2/a/blobs/uploads/{'x' * 65}", BlobUploadUnknown),
        (f"/v2/a/blobs/uploads/{D256}", BlobUploadUnknown),
    ],
)
def test_a_malformed_part_is_refused_by_its_own_error(
    path: str, error: type[RegistryError]
) -> None:
    with pytest.raises(error):
        routes.parse(path)


def test_a_long_path_is_read_but_not_remembered() -> None:
    remembered = routes._remembered.cache_info
    before = remembered()
    assert routes.parse("/v2/" + "x" * 60_000) is None
    with pytest.raises(NameInvalid):
        routes.parse(f"/v2/{'a' * 60_000}/tags/list")
    assert remembered() == before


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (f"/v2/a/blobs/{D256.replace(':', '%3A')}", routes.Blob(A, DIGEST)),
        (f"/v2/a/manifests/{D256.replace(':', '%3a')}", routes.Manifest(A, DIGEST)),
        (f"/v2/a/referrers/{D256.replace(':', '%3A')}", routes.Referrers(A, DIGEST)),
        ("/v2/a/manifests/v1%2E0", routes.Manifest(A, Tag("v1.0"))),
        ("/v2/a/blobs/uploads/a%2Db", routes.Upload(A, "a-b")),
    ],
)
def test_a_reference_may_be_percent_encoded_once(path: str, route: routes.Route) -> None:
    assert routes.parse(path) == route
