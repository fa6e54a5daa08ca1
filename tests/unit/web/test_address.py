"""The address: what is configured, else what a request says in a strict grammar."""

from typing import Final

import pytest

from entrepot.oci.errors import NameInvalid
from entrepot.web.address import Address, address_of, host_of, networks
from entrepot.web.message import Headers, Request
from tests.unit.web.requests import request

TRUSTED: Final = networks(["10.0.0.0/8", "::1/128"])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("registry.example", "registry.example"),
        ("Registry.Example:5000", "registry.example:5000"),
        ("registry.example.", "registry.example."),
        ("my_registry:80", "my_registry:80"),
        ("127.0.0.1:65535", "127.0.0.1:65535"),
        ("[::1]:5000", "[::1]:5000"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_taken(host: str, expected: str) -> None:
    assert host_of(request(headers={"host": host})) == expected


MALFORMED: Final = [
    "a b",
    "a/b",
    "a\\b",
    'a"b',
    "a,b",
    "user@host",
    "host:",
    "host:65536",
    "host:123456",
    "host:+80",
    "host:٣",
    "hóst",
    "a..b",
    "-a",
    "a-",
    ".a",
    "%61",
    "<script>",
    "host\n",
    "[::1",
    "[::1]x",
    "[:::]",
    "[fe80::1%25eth0]",
    "::1",
    "host#x",
    "host?x",
    "a" * 256,
]


@pytest.mark.parametrize("host", MALFORMED)
def test_a_malformed_host_is_refused(host: str) -> None:
    asked = request(headers={"host": host})
    with pytest.raises(NameInvalid):
        host_of(asked)
    with pytest.raises(NameInvalid):
        address_of(asked, "", TRUSTED)


def test_without_a_host_there_is_no_address() -> None:
    asked = Request("GET", "/", "", Headers(), version="1.0")
    assert host_of(asked) == ""
    with pytest.raises(NameInvalid, match="Host"):
        address_of(asked, "", TRUSTED)


def test_what_is_configured_counts_whatever_a_request_says() -> None:
    asked = request(headers={"host": "evil example", "x-forwarded-proto": "gopher"})
    address = address_of(asked, "https://Mirror.example.com/", TRUSTED)
    assert address == Address("https", "mirror.example.com")
    assert str(address) == "https://mirror.example.com"


@pytest.mark.parametrize(
    ("client", "said", "scheme"),
    [
        ("10.1.2.3", "https", "https"),
        ("10.1.2.3", "HTTPS, http", "https"),
        ("::ffff:10.1.2.3", "https", "https"),
        ("::1", "https", "https"),
        ("10.1.2.3", "javascript", "http"),
        ("10.1.2.3", "", "http"),
        ("192.0.2.7", "https", "http"),
        ("::2", "https", "http"),
        ("", "https", "http"),
        ("nonsense", "https", "http"),
    ],
)
def test_only_proxies_in_front_say_how_the_client_came(client: str, said: str, scheme: str) -> None:
    asked = request(headers={"x-forwarded-proto": said}, client=client)
    assert address_of(asked, "", TRUSTED).scheme == scheme


def test_a_unix_socket_counts_as_loopback() -> None:
    asked = request(headers={"x-forwarded-proto": "https"}, client="")
    assert address_of(asked, "", networks(["127.0.0.0/8"])).scheme == "https"
    assert address_of(asked, "", ()).scheme == "http"


def test_no_request_names_another_host_beside_host() -> None:
    asked = request(
        headers={"x-forwarded-host": "evil.example", "forwarded": "host=evil.example"},
        client="10.0.0.1",
    )
    assert address_of(asked, "", TRUSTED).host == "registry.example:5000"
