"""Endpoints as they are written, and other URLs in settings."""

import pytest

from entrepot.config import EndpointSettings, parse_endpoint
from entrepot.config.errors import Refusal
from entrepot.config.kinds import HEADERS, OPTIONAL_PROXY, REWRITES
from entrepot.config.urls import registry_url
from tests.unit.config.reading import ConfigFile


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://a.example", EndpointSettings("https://a.example", 1, 0.0)),
        ("https://a.example:5000/ weight=3", EndpointSettings("https://a.example:5000", 3, 0.0)),
        ("http://[::1]:1/p/q/ cost=0.5", EndpointSettings("http://[::1]:1/p/q", 1, 0.5)),
        ("https://a.example cost=2 weight=0", EndpointSettings("https://a.example", 0, 2.0)),
    ],
    ids=["host", "weight", "prefix and cost", "both"],
)
def test_an_endpoint_is_a_url_with_weight_and_cost(text: str, endpoint: EndpointSettings) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it must be a URL"),
        ("a.example", "it must be a URL"),
        ("ftp://a.example", "schemes are http, https"),
        ("https://", "it must be a URL"),
        ("https://a.example:99999", "it must be a URL"),
        ("https://a.example:0", "it must be a URL"),
        ("https://me:geheim@a.example", "must not hold a login"),
        ("https://a.example/v2/", "in front of /v2/"),
        ("https://a.example/?x=1", "neither ? nor #"),
        ("https://a.example#", "neither ? nor #"),
        ("https://a\\b", "without spaces"),
        ("https://a.example weight=x", "weight must be a number"),
        ("https://a.example weight=-1", "from 0 to 1000"),
        ("https://a.example weight=1001", "from 0 to 1000"),
        ("https://a.example cost=-1", "cost must be 0 or more"),
        ("https://a.example cost=inf", "cost must be 0 or more"),
        ("https://a.example cost=nan", "cost must be 0 or more"),
        ("https://a.example weight=1 weight=2", "each once"),
        ("https://a.example speed=1", "weight=N and cost=N"),
        ("https://a.example weight", "weight=N and cost=N"),
    ],
)
def test_what_is_no_endpoint(text: str, reason: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_endpoint(text)
    assert reason in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_a_wrong_endpoint_is_told_with_the_reason_and_without_its_login(toml: ConfigFile) -> None:
    problem = toml.problem('[upstreams.a]\nendpoints = ["https://me:geheim@a.example"]\n')
    assert problem.message == 'upstreams.a.endpoints cannot be ["https://me:***@a.example"]'
    assert problem.hint == "it must not hold a login; there are settings for that"


def test_endpoints_are_kept_as_they_were_written(toml: ConfigFile) -> None:
    line = "https://a.example/  weight=2"
    (upstream,) = toml.load(f'[upstreams.a]\nendpoints = ["{line}"]\n').upstreams.values()
    assert upstream.endpoints == (line,)


@pytest.mark.parametrize(
    "text",
    [
        "dns+https://a.example",
        "dns+http://a.example:5000/p",
        "srv+https://_registry._tcp.a.example",
    ],
)
def test_endpoints_may_be_discovered(toml: ConfigFile, text: str) -> None:
    """BE-08: by addresses of a name, and by SRV records."""
    settings = toml.load(f'[upstreams.a]\ndiscovery = "{text}"\ninsecure = true\n')
    assert settings.upstreams["a"].discovery == text


@pytest.mark.parametrize(
    "text", ["https://a", "dns+https://", "dns+https://a:0", "srv+https://a.example", "dns+ftp://a"]
)
def test_other_discoveries_are_none(toml: ConfigFile, text: str) -> None:
    problem = toml.problem(f'[upstreams.a]\ndiscovery = "{text}"\ninsecure = true\n')
    assert 'it must be "dns+https://HOST:PORT"' in problem.hint


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://a.example/v2/", "https://a.example/v2/"),
        ("https://a.example/v2", "https://a.example/v2/"),
        ("https://a.example/v2/p/images", "https://a.example/v2/p/images/"),
        ("http://127.0.0.1:5000/v2/p/", "http://127.0.0.1:5000/v2/p/"),
        ("http://localhost/v2/", "http://localhost/v2/"),
    ],
)
def test_redirects_lead_below_v2(text: str, url: str) -> None:
    assert registry_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "a.example/v2/", "https://a.example/", "https://a.example/x/v2/", "https://a.example/v2x/",
        "http://a.example/v2/", "https://u:p@a.example/v2/", "https://a.example/v2/?x=1",
        "https://a.example/v2/#x", "https://a.example/v2/../x/", "https://a.example/v2/a//b/",
        "https://a.example/v2/%41/", "https://a.example/v2/A/", "https:///v2/",
        "https://a.example/v2/\r\nX:/", "/v2/", "not a url",
    ],
)  # fmt: skip
def test_redirects_lead_nowhere_else(text: str) -> None:
    with pytest.raises(Refusal):
        registry_url(text)


@pytest.mark.parametrize(
    "text", ["http://p:1", "https://p", "socks5://u:p@h:1080", "socks5h://h:1"]
)
def test_egress_proxies(text: str) -> None:
    """PX-06: each kind, with credentials."""
    assert OPTIONAL_PROXY.read(text) == text
    assert OPTIONAL_PROXY.written(text) == text
    assert ":p@" not in str(OPTIONAL_PROXY.show(text))


@pytest.mark.parametrize("text", ["", "p:1", "socks4://h:1", "http://", "http://h:x", "http://a b"])
def test_what_is_no_egress_proxy(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        OPTIONAL_PROXY.read(text)


def test_header_fields_are_shown_by_name_only() -> None:
    headers = HEADERS.read(["X-Key:secret ", "Authorization: Bearer secret"])
    assert headers == ("X-Key: secret", "Authorization: Bearer secret")
    assert HEADERS.show(headers) == ["X-Key: ***", "Authorization: ***"]
    assert HEADERS.read(HEADERS.show(headers))


@pytest.mark.parametrize(
    "text", ["x", ": x", "X:", "X y: z", "X: a\r\nY: b", "X: ü", "Host: a", "content-length: 1"]
)
def test_what_is_no_header_field(text: str) -> None:
    with pytest.raises(Refusal):
        HEADERS.read([text])


@pytest.mark.parametrize("text", ["", "a", "a=", "=a", "a=b=c", "a=*", "a/*=*/*"])
def test_what_is_no_rewrite(text: str) -> None:
    with pytest.raises(Refusal):
        REWRITES.read([text])


def test_rewrites() -> None:
    assert REWRITES.read(["rancher/* = stable/rancher/*"]) == ("rancher/*=stable/rancher/*",)
