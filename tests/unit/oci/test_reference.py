import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid, NameInvalid, RegistryError, TagInvalid
from entrepot.oci.reference import Reference, RepositoryName, Tag

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "busybox",
        "library/busybox",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a----b",
        "0/1/2",
        "blobs/uploads/manifests",
        "a/" * 127 + "a",
    ],
)
def test_names_of_the_grammar_are_accepted(name: str) -> None:
    assert RepositoryName.parse(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "A",
        "a/",
        "/a",
        "a//b",
        "a..b",
        "a___b",
        "a._b",
        "-a",
        "a-",
        "a/-b",
        "_a",
        "a b",
        "a%2fb",
        "..",
        "../a",
        "a/../b",
        "ä",
        "a\n",
        "a\0",
        "a" * 256,
    ],
)
def test_all_other_names_are_refused(name: str) -> None:
    with pytest.raises(NameInvalid):
        RepositoryName.parse(name)


@pytest.mark.parametrize("tag", ["a", "_", "0", "latest", "v1.0-rc.1", "A_B", "a" * 128])
def test_tags_of_the_grammar_are_accepted(tag: str) -> None:
    assert Tag.parse(tag) == tag


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a/b", "a:b", "a b", "ä", "a\n", "a" * 129])
def test_all_other_tags_are_refused(tag: str) -> None:
    with pytest.raises(TagInvalid):
        Tag.parse(tag)


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("busybox", None, "busybox", None, None),
        ("library/busybox:1.36", None, "library/busybox", "1.36", None),
        ("localhost/a", "localhost", "a", None, None),
        ("localhost:5000/a/b", "localhost:5000", "a/b", None, None),
        ("registry.example/a:v1", "registry.example", "a", "v1", None),
        ("[::1]:5000/a", "[::1]:5000", "a", None, None),
        (f"a@{DIGEST}", None, "a", None, DIGEST),
        (f"r.example/a:v1@{DIGEST}", "r.example", "a", "v1", DIGEST),
    ],
)
def test_a_reference_is_taken_apart_and_put_together(
    text: str, host: str | None, repository: str, tag: str | None, digest: str | None
) -> None:
    reference = Reference.parse(text)
    assert reference.host == host
    assert reference.repository == repository
    assert reference.tag == tag
    assert reference.digest == (Digest.parse(digest) if digest else None)
    assert str(reference) == text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", NameInvalid),
        ("host.example/", NameInvalid),
        ("ho_st.example/a", NameInvalid),
        ("a:", TagInvalid),
        ("a:b:c", TagInvalid),
        ("a@sha256:short", DigestInvalid),
        ("a@", DigestInvalid),
        (f"a@{DIGEST}@{DIGEST}", DigestInvalid),
        ("UPPER/a", NameInvalid),
    ],
)
def test_a_bad_reference_names_the_part_that_is_wrong(
    text: str, error: type[RegistryError]
) -> None:
    with pytest.raises(error):
        Reference.parse(text)
