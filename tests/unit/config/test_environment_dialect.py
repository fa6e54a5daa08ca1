"""The environment of the redirecting proxy: `UpstreamRegistry` and `PORT` (RD-01)."""

from collections.abc import Mapping

import pytest

from entrepot.config import ConfigError, Problem, Settings, load, resolve
from tests.unit.config.reading import ConfigFile


def problem(environ: Mapping[str, str]) -> Problem:
    with pytest.raises(ConfigError) as raised:
        load(None, environ, {})
    (one,) = raised.value.problems
    return one


def test_both_are_read() -> None:
    """RD-01."""
    url = "https://us-central1-docker.pkg.dev/v2/oci-proxy/oci-proxy-images/"
    resolved = resolve(None, {"UpstreamRegistry": url, "PORT": "8080"}, {})
    assert resolved.settings.redirect.upstream == url
    assert resolved.settings.server.listen == (":8080",)
    assert resolved.origins["redirect", "upstream"] == "UpstreamRegistry"
    assert resolved.origins["server", "listen"] == "PORT"


def test_a_missing_slash_at_the_end_is_added() -> None:
    """RD-01."""
    settings = load(None, {"UpstreamRegistry": "https://a.example/v2/p"}, {})
    assert settings.redirect.upstream == "https://a.example/v2/p/"
    assert settings.server.listen == Settings().server.listen


@pytest.mark.parametrize(
    "value",
    ["", "  ", "a.example", "/v2/p/", "http://a.example/v2/", "https://a.example/p/", "x y"],
)
def test_a_wrong_upstream_stops_the_start_by_its_name(value: str) -> None:
    """RD-01: missing, plain http, and what is no URL."""
    found = problem({"UpstreamRegistry": value})
    assert found.origin == "UpstreamRegistry"
    assert found.hint


@pytest.mark.parametrize("value", ["", "0", "65536", "-1", "http", "80.5", "٣"])
def test_a_wrong_port_stops_the_start_by_its_name(value: str) -> None:
    """RD-01."""
    found = problem({"UpstreamRegistry": "https://a.example/v2/", "PORT": value})
    assert found.origin == "PORT"
    assert found.hint == "it must be a port, from 1 to 65535"


@pytest.mark.parametrize("value", ["8080", "x"])
def test_a_port_alone_is_somebody_elses(value: str) -> None:
    assert load(None, {"PORT": value}, {}) == Settings()


def test_our_own_variables_and_flags_win() -> None:
    environ = {
        "UpstreamRegistry": "https://a.example/v2/",
        "PORT": "1",
        "ENTREPOT_REDIRECT_UPSTREAM": "https://b.example/v2/",
        "ENTREPOT_SERVER_LISTEN": ":2",
    }
    settings = load(None, environ, {})
    assert settings.redirect.upstream == "https://b.example/v2/"
    assert settings.server.listen == (":2",)
    assert load(None, environ, {"server.listen": ":3"}).server.listen == (":3",)


def test_the_file_is_held_to_the_same(toml: ConfigFile) -> None:
    found = toml.problem('[redirect]\nupstream = "http://a.example/v2/"\n')
    assert found.origin == ":2"
    assert found.hint == "it must be an https URL; clients are sent there"
    text = '[redirect]\nupstream = "http://127.0.0.1:5000/v2"\n'
    assert toml.load(text).redirect.upstream == "http://127.0.0.1:5000/v2/"
