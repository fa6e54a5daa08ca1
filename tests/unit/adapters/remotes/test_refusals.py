"""Refusals: what registries answer in their dialects, and what people are told."""

import json

import pytest

from entrepot.adapters.remotes.exchange import Request
from entrepot.adapters.remotes.exchanges import Settled
from entrepot.adapters.remotes.refusals import Asking, Told, refusal, told
from entrepot.oci import errors

BASE = "https://registry.example"
DIGEST = "sha256:" + "0" * 64


def answer(status: int, body: object = b"", url: str = BASE + "/v2/", **headers: str) -> Settled:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Settled(status, url, tuple(fields.items()), fields, "1.1", content)


def refused(
    status: int,
    path: str = "/v2/",
    body: object = b"",
    *,
    method: str = "GET",
    login: bool = False,
    **headers: str,
) -> errors.RegistryError:
    asking = Asking("registry.example", BASE, Request(method, BASE + path), login)
    return refusal(asking, answer(status, body, BASE + path, **headers))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"errors": [{"code": "DENIED", "message": "no", "detail": {}}, {"code": "X"}]},
         Told("DENIED", "no")),
        ({"errors": [{"code": "denied", "detail": "as text"}]}, Told("DENIED", "as text")),
        ({"errors": {"code": "DENIED", "message": "no"}}, Told("DENIED", "no")),
        ({"errors": ["in words"]}, Told("", "in words")),
        ({"errors": []}, Told()),
        ({"message": "Not Found"}, Told("", "Not Found")),  # GitHub
        ({"code": "NOT_FOUND", "message": "gone"}, Told("NOT_FOUND", "gone")),
        ({"code": 404, "message": "gone"}, Told("", "gone")),
        ({"error": "invalid_grant", "error_description": "wrong password"},
         Told("", "wrong password")),
        ({"details": "incorrect username or password"}, Told()),
        ("plain JSON", Told("", "plain JSON")),
        ([1], Told()),
        (b"404 page not found\n", Told("", "404 page not found")),
        (b"<html><head><title>502 Bad &amp; Gateway</title></head><body>x</body>",
         Told("", "502 Bad & Gateway")),
        (b"<h1>Oops</h1><script>var a = '<b>'</script><p>try later", Told("", "Oops try later")),
        (b"", Told()),
        (b"\xff\xfe", Told("", "\ufffd\ufffd")),
    ],
)  # fmt: skip
def test_every_dialect_is_read(body: object, said: Told) -> None:
    assert told(answer(400, body).body) == said


def test_nothing_controls_the_terminal_and_nothing_is_endless() -> None:
    said = told(b"a\x1b[31mb\r\nc\x00" + "\u202e".encode() + b"x" * 100_000)
    assert said.message.startswith("a [31mb c x")
    assert len(said.message) < 400
    assert said.message.isprintable()


def test_a_secret_in_an_answer_is_not_repeated() -> None:
    body = {"message": "Bearer abcdefghijkl at https://u:p4ss@h/x?X-Amz-Signature=51g is bad"}
    said = told(json.dumps(body).encode()).message
    assert not [secret for secret in ("abcdefghijkl", "p4ss", "51g") if secret in said]


@pytest.mark.parametrize(
    ("status", "path", "kind"),
    [
        (404, f"/v2/a/blobs/{DIGEST}", errors.BlobUnknown),
        (404, "/v2/a/manifests/latest", errors.ManifestUnknown),
        (404, "/v2/a/tags/list", errors.NameUnknown),
        (404, f"/v2/a/referrers/{DIGEST}", errors.NameUnknown),
        (404, "/v2/a/blobs/uploads/1", errors.BlobUploadUnknown),
        (404, "/v2/a/blobs/uploads/", errors.NameUnknown),
        (404, "/v2/_catalog", errors.Unsupported),
        (404, "/v2/", errors.Unavailable),
        (410, "/v2/a/manifests/latest", errors.ManifestUnknown),
        (400, "/v2/a/manifests/latest", errors.ManifestInvalid),
        (400, "/v2/a/blobs/uploads/1", errors.BlobUploadInvalid),
        (400, "/elsewhere", errors.RegistryError),
        (401, "/v2/", errors.Unauthorized),
        (403, "/v2/", errors.Denied),
        (405, "/v2/a/manifests/latest", errors.Unsupported),
        (409, "/v2/a/manifests/latest", errors.Denied),
        (413, "/v2/a/manifests/latest", errors.ManifestTooLarge),
        (413, "/v2/a/blobs/uploads/1", errors.SizeInvalid),
        (416, "/v2/a/blobs/uploads/1", errors.BlobUploadInvalid),
        (429, "/v2/", errors.TooManyRequests),
        (500, "/v2/", errors.Unavailable),
        (501, "/v2/", errors.Unsupported),
        (507, "/v2/", errors.StoreFull),
        (599, "/v2/", errors.Unavailable),
    ],
)
def test_a_status_alone_says_what_is_meant(
    status: int, path: str, kind: type[errors.RegistryError]
) -> None:
    assert type(refused(status, path)) is kind


@pytest.mark.parametrize(
    ("status", "code", "login", "kind"),
    [
        (404, "NAME_UNKNOWN", False, errors.NameUnknown),
        (404, "MANIFEST_UNKNOWN", False, errors.ManifestUnknown),
        (404, "NOT_FOUND", False, errors.ManifestUnknown),  # Harbor
        (400, "DIGEST_INVALID", False, errors.DigestInvalid),
        (400, "MANIFEST_BLOB_UNKNOWN", False, errors.ManifestBlobUnknown),
        (400, "TOOMANYREQUESTS", False, errors.TooManyRequests),
        (401, "DENIED", False, errors.Unauthorized),  # Docker Hub, to anybody
        (401, "DENIED", True, errors.Denied),
        (403, "UNAUTHORIZED", True, errors.Denied),
        (403, "QUOTA_EXCEEDED", True, errors.StoreFull),
        (500, "BLOB_UNKNOWN", False, errors.Unavailable),
        (409, "TAG_IMMUTABLE", True, errors.Denied),
    ],
)
def test_a_code_decides_where_the_status_is_not_plain(
    status: int, code: str, login: bool, kind: type[errors.RegistryError]
) -> None:
    body = {"errors": [{"code": code, "message": "m"}]}
    assert type(refused(status, "/v2/a/manifests/latest", body, login=login)) is kind


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (refused(401), "log in: entrepot login registry.example"),
        (refused(401, login=True), "log in again: entrepot login registry.example"),
        (refused(403, login=True), "the login may not do that"),
        (refused(404, "/v2/a/b/manifests/x"), "entrepot tags registry.example/a/b"),
        (refused(507), "make room"),
        (refused(407), "egress proxy"),
        (refused(502), "try again later"),
    ],
)
def test_every_message_says_what_to_do_next(error: errors.RegistryError, hint: str) -> None:
    assert error.message.startswith("registry.example answers ")
    assert hint in error.message.partition("; ")[2]


def test_a_message_says_who_answered_what_to_what() -> None:
    body = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
    error = refused(404, "/v2/a/manifests/x?secret=1", body, method="HEAD", login=True)
    assert error.message == (
        "registry.example answers 404 (MANIFEST_UNKNOWN: manifest unknown) to HEAD "
        "/v2/a/manifests/x; see what there is: entrepot tags registry.example/a"
    )
    assert error.detail == {
        "registry": "registry.example",
        "status": 404,
        "code": "MANIFEST_UNKNOWN",
    }


def test_numbers_are_taken_from_the_headers() -> None:
    wrong = refused(416, "/v2/a/blobs/uploads/1", range="0-99")
    assert isinstance(wrong, errors.UploadOutOfOrder)
    assert wrong.offset == 100
    beyond = refused(416, f"/v2/a/blobs/{DIGEST}", content_range="bytes */100")
    assert isinstance(beyond, errors.RangeInvalid)
    assert beyond.size == 100


def test_a_limit_says_how_much_and_how_long() -> None:
    asking = Asking("registry.example", BASE, Request("GET", BASE + "/v2/"))
    limited = answer(429, ratelimit_limit="100;w=21600", ratelimit_remaining="0;w=21600")
    error = refusal(asking, limited, 7.0)
    assert "it allows 100 requests in 21600 s; wait 7 s, or log in for more" in error.message
    assert error.detail["retry_after"] == 7.0


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "DENIED", "quay.io is not mirrored here; to allow it, run `entrepot upstream add`"),
        (405, "UNSUPPORTED", "team/app is mirrored, and cannot be changed here; push it there"),
    ],
)
def test_a_way_out_that_the_registry_tells_is_the_only_one(
    status: int, code: str, words: str
) -> None:
    """Our own guess (to log in, that somebody has turned it off) would contradict it."""
    body = {"errors": [{"code": code, "message": words}]}
    told_people = refused(status, "/v2/team/app/manifests/1", body).message
    assert told_people == (
        f"registry.example answers {status} ({code}: {words}) to GET /v2/team/app/manifests/1"
    )
    body = {"errors": [{"code": code, "message": "no"}]}
    assert "; " in refused(status, "/v2/team/app/manifests/1", body).message
