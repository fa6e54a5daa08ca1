import hashlib

import pytest

from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import DigestInvalid

SHA256 = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_a_digest_reads_and_writes_the_same(text: str) -> None:
    assert str(Digest.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:baddigeststring",
        SHA256[:-1],
        SHA256 + "0",
        SHA256.upper(),
        "SHA256:" + "0" * 64,
        "sha256:" + "g" * 64,
        "sha256:" + "0" * 128,
        "sha512:" + "0" * 64,
        "md5:" + "0" * 32,
        "sha384:" + "0" * 96,
        SHA256 + "\n",
        " " + SHA256,
        "sha256:" + "\u0660" * 64,
        "sha256:../../etc/passwd",
        "x" * 100_000,
    ],
)
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(DigestInvalid) as refused:
        Digest.parse(text)
    assert len(refused.value.message) < 400


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_content_is_hashed(algorithm: str) -> None:
    digest = Digest.of(b"content", algorithm)
    assert str(digest) == f"{algorithm}:{hashlib.new(algorithm, b'content').hexdigest()}"


def test_a_hasher_tells_the_digest_so_far_and_goes_on() -> None:
    hasher = Hasher()
    hasher.update(b"con")
    assert hasher.digest() == Digest.of(b"con")
    hasher.update(memoryview(b"tent"))
    assert hasher.digest() == Digest.of(b"content")


def test_a_copied_hasher_goes_its_own_way() -> None:
    hasher = Hasher("sha512")
    hasher.update(b"con")
    twin = hasher.copy()
    hasher.update(b"cert")
    twin.update(b"tent")
    assert hasher.digest() == Digest.of(b"concert", "sha512")
    assert twin.digest() == Digest.of(b"content", "sha512")


@pytest.mark.parametrize("algorithm", ["md5", "", "sha256 ", "blake3", "shake_128"])
def test_other_algorithms_are_refused(algorithm: str) -> None:
    with pytest.raises(DigestInvalid):
        Hasher(algorithm)
