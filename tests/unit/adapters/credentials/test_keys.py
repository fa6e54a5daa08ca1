import pytest

from entrepot.adapters.credentials.keys import candidates, plain_key, server_name


@pytest.mark.parametrize(
    ("key", "plain"),
    [
        ("ghcr.io", "ghcr.io"),
        ("GHCR.io/", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("http://host:5000/v1", "host:5000"),
        ("https://host/some/path", "host"),
        ("host:5000/v1/", "host:5000"),
        ("ghcr.io/ns/name", "ghcr.io/ns/name"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("docker.io/library", "docker.io/library"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_a_key_means_a_registry_or_a_namespace_however_it_is_written(key: str, plain: str) -> None:
    assert plain_key(key) == plain
    assert plain_key(plain) == plain


def test_the_longest_namespace_comes_first() -> None:
    assert candidates("h:5000", "a/b") == ("h:5000/a/b", "h:5000/a", "h:5000")
    assert candidates("h") == ("h",)


def test_docker_hub_has_one_name_for_servers() -> None:
    assert server_name("docker.io") == "https://index.docker.io/v1/"
    assert server_name("ghcr.io") == "ghcr.io"
