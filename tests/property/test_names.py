"""Digests, names, tags, references and platforms: they read what they write, and refuse the
rest with their own error only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import DigestInvalid, NameInvalid, RegistryError, TagInvalid, Unsupported
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference, RepositoryName, Tag
from tests.property import strategies


@given(strategies.digests())
def test_a_digest_round_trips(digest: Digest) -> None:
    assert Digest.parse(str(digest)) == digest


@given(st.lists(st.binary(max_size=5000), max_size=5), st.sampled_from(["sha256", "sha512"]))
def test_hashing_in_blocks_is_hashing_whole(blocks: list[bytes], algorithm: str) -> None:
    hasher = Hasher(algorithm)
    for block in blocks:
        hasher.update(block)
    assert hasher.digest() == Digest.of(b"".join(blocks), algorithm)


@pytest.mark.parametrize(
    ("parse", "error"),
    [
        (Digest.parse, DigestInvalid),
        (RepositoryName.parse, NameInvalid),
        (Tag.parse, TagInvalid),
        (Reference.parse, RegistryError),
        (Platform.parse, Unsupported),
    ],
)
@given(text=st.one_of(strategies.any_text, st.text("az09AZ._-/:@%[] \n", max_size=40)))
def test_any_text_is_read_or_refused(parse: object, error: type[RegistryError], text: str) -> None:
    assert callable(parse)
    try:
        value = parse(text)
    except error:
        return
    assert str(value) == text


@given(
    st.none() | st.sampled_from(["localhost", "r.example", "r.example:5000", "[::1]:80"]),
    strategies.names,
    st.none() | strategies.tags,
    st.none() | strategies.digests(),
)
def test_a_reference_round_trips(
    host: str | None, name: RepositoryName, tag: Tag | None, digest: Digest | None
) -> None:
    # without a host, a first part like `a.b/` reads as one: that is the shared grammar
    first, slash, _ = name.partition("/")
    if host is None and slash and ("." in first or first == "localhost"):
        host = "r.example"
    reference = Reference(host, name, tag, digest)
    assert Reference.parse(str(reference)) == reference


@given(strategies.platforms)
def test_a_platform_matches_itself_and_normalising_it_twice_is_once(platform: Platform) -> None:
    once = platform.normalised()
    assert once.normalised() == once
    assert platform.matches(platform) == bool(once.os and once.architecture)
    assert once.matches(platform) == platform.matches(once)
