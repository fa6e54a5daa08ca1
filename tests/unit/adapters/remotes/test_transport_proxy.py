"""Which proxy a URL goes through, and what may be written as one."""

import pytest

from entrepot.adapters.remotes.transport_proxy import Proxy, parse_proxy, proxy_for, unproxied
from entrepot.oci.errors import Unsupported


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy:3128", Proxy("http://proxy:3128")),
        ("proxy:3128", Proxy("http://proxy:3128")),
        ("http://proxy", Proxy("http://proxy:80")),
        ("https://proxy/", Proxy("https://proxy:443")),
        ("socks5://proxy", Proxy("socks5://proxy:1080")),
        ("socks5h://proxy:9050", Proxy("socks5h://proxy:9050")),
        ("socks://proxy:1", Proxy("socks5h://proxy:1")),
        ("HTTP://Proxy:1", Proxy("http://proxy:1")),
        ("http://[::1]:3128", Proxy("http://[::1]:3128")),
        ("http://me:pass@proxy:1", Proxy("http://proxy:1", "me", "pass")),
        ("http://me%40work:a%3Ab%2Fc@proxy:1", Proxy("http://proxy:1", "me@work", "a:b/c")),
        ("http://me@proxy:1", Proxy("http://proxy:1", "me", "")),
        ("me:pass@proxy:1", Proxy("http://proxy:1", "me", "pass")),
    ],
)
def test_a_proxy_is_taken_apart(text: str, proxy: Proxy) -> None:
    assert parse_proxy(text) == proxy


@pytest.mark.parametrize(
    "text",
    ["ftp://me:hidden@proxy", "socks4://me:hidden@p", "http://", "http://me:hidden@proxy:x",
     "http://me:hidden@[::1", "http://me:hidden@proxy:99999"],
)  # fmt: skip
def test_what_is_no_proxy_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(Unsupported, match="write http://host:port") as caught:
        parse_proxy(text)
    assert "hidden" not in str(caught.value)


def test_a_password_is_never_shown() -> None:
    proxy = parse_proxy("http://me:hidden@proxy:1")
    assert "hidden" not in repr(proxy)
    assert str(proxy) == "http://proxy:1"


@pytest.mark.parametrize(
    ("scheme", "setting", "environment", "url"),
    [
        ("http", None, {}, None),
        ("http", None, {"http_proxy": "a:1"}, "http://a:1"),
        ("https", None, {"http_proxy": "a:1"}, None),
        ("https", None, {"https_proxy": "a:1"}, "http://a:1"),
        ("https", None, {"HTTPS_PROXY": "a:1"}, "http://a:1"),
        ("https", None, {"https_proxy": "a:1", "HTTPS_PROXY": "b:1"}, "http://a:1"),
        ("http", None, {"HTTP_PROXY": "a:1"}, "http://a:1"),
        ("http", None, {"HTTP_PROXY": "a:1", "REQUEST_METHOD": "GET"}, None),
        ("https", None, {"ALL_PROXY": "socks5://a"}, "socks5://a:1080"),
        ("https", None, {"all_proxy": "b:1", "https_proxy": "a:1"}, "http://a:1"),
        ("https", None, {"all_proxy": "b:1", "https_proxy": ""}, None),
        ("https", "c:1", {"https_proxy": "a:1"}, "http://c:1"),
        ("https", "", {"https_proxy": "a:1", "all_proxy": "b:1"}, None),
    ],
)
def test_a_setting_stands_above_the_environment(
    scheme: str, setting: str | None, environment: dict[str, str], url: str | None
) -> None:
    proxy = proxy_for(scheme, setting, environment)
    assert (proxy.url if proxy else None) == url


def test_no_proxy_is_read_in_either_case() -> None:
    assert unproxied({}) == ""
    assert unproxied({"NO_PROXY": "a,b"}) == "a,b"
    assert unproxied({"NO_PROXY": "a,b", "no_proxy": "c"}) == "c"
