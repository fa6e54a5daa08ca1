import pytest

from entrepot.rules.realms import (
    is_global,
    is_loopback,
    leads_outside,
    may_ask,
    may_lead_to,
    may_send_login,
    origin,
)


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://quay.io", "https://quay.io/v2/auth"),
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("https://registry.example.co.uk", "https://auth.example.co.uk/t"),
        ("https://h.example:5000", "https://h.example:5001/t"),
        ("https://registry.redhat.io", "https://sso.redhat.com/auth"),
        ("https://me.azurecr.io", "https://me.azurecr.io/oauth2/token"),
        ("https://a.me.azurecr.io", "https://b.me.azurecr.io/token"),
        ("http://registry:5000", "http://registry:5001/t"),
        ("http://10.0.0.1:5000", "https://10.0.0.1/t"),
        ("http://localhost:5000", "http://127.0.0.1:5001/t"),
        ("https://Registry.Example.", "https://auth.registry.example/t"),
    ],
)
def test_a_realm_of_the_same_owner_gets_the_login(registry: str, realm: str) -> None:
    assert may_send_login(registry, realm)


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://registry.example.com", "https://evil.net/token"),
        ("https://registry.example.com", "https://registry.example.com.evil.net/token"),
        ("https://registry.example.com", "https://notexample.com/token"),
        ("https://registry.example.com", "http://registry.example.com/token"),
        ("https://one.co.uk", "https://two.co.uk/t"),
        ("https://me.azurecr.io", "https://you.azurecr.io/token"),
        ("https://me.azurecr.io", "https://azurecr.io/token"),
        ("https://123.dkr.ecr.eu-west-1.amazonaws.com", "https://evil.s3.amazonaws.com/t"),
        ("http://registry:5000", "http://auth:5001/t"),
        ("https://10.0.0.1", "https://11.0.0.1/t"),
        ("https://[fd00::1]", "https://[fd00::2]/t"),
        ("https://com", "https://org/t"),
        ("https://registry.example.com", "https://user@registry.example.com/t"),
        ("https://registry.example.com", "ftp://registry.example.com/t"),
        ("https://registry.example.com", "//registry.example.com/t"),
        ("https://registry.example.com", "https://[broken/t"),
        ("https://registry.example.com", "https://registry.example.com:99999/t"),
        ("https://registry.example.com", ""),
    ],
)
def test_a_stranger_does_not(registry: str, realm: str) -> None:
    assert not may_send_login(registry, realm)


def test_who_is_allowed_by_name_gets_it_but_never_in_the_open() -> None:
    allowed = {"tokens.net", "other.net:8443"}
    for realm in ("https://tokens.net/t", "https://tokens.net:99/t", "https://other.net:8443/t"):
        assert may_send_login("https://registry.example", realm, allowed)
    for realm in ("https://other.net/t", "http://tokens.net/t", "https://x.tokens.net/t"):
        assert not may_send_login("https://registry.example", realm, allowed)


@pytest.mark.parametrize(
    ("start", "target", "allowed"),
    [
        ("https://a.example", "https://cdn.example/x", True),
        ("https://a.example", "https://10.0.0.1/x", True),
        ("http://a.example", "https://cdn.example/x", True),
        ("http://a.example", "http://cdn.example/x", True),
        ("http://localhost:1", "http://127.0.0.1:2/x", True),
        ("https://169.254.1.1", "https://169.254.1.1/x", True),
        ("https://a.example", "http://a.example/x", False),
        ("https://a.example", "https://localhost/x", False),
        ("https://a.example", "https://127.1.2.3/x", False),
        ("https://a.example", "https://[::1]/x", False),
        ("https://a.example", "https://[::ffff:127.0.0.1]/x", False),
        ("https://a.example", "https://0.0.0.0/x", False),
        ("https://a.example", "https://169.254.169.254/x", False),
        ("https://a.example", "https://[fe80::1]/x", False),
        ("https://a.example", "https://[fd00:ec2::254]/latest", False),
        ("https://a.example", "https://127.1/x", False),
        ("https://a.example", "https://2130706433/x", False),
        ("https://a.example", "https://0x7f000001/x", False),
        ("https://a.example", "https://0177.0.0.1/x", False),
        ("https://a.example", "https://0/x", False),
        ("https://a.example", "https://127.0.0.%31/x", False),
        ("https://a.example", "https://loc%61lhost/x", False),
        ("https://a.example", "https://my_cdn.a-1.example2/x", True),
        ("https://a.example", "https://[2001:db8::1]:8443/x", True),
        ("https://a.example", "https://metadata.google.internal/x", False),
        ("http://a.example", "http://METADATA.google.internal./x", False),
        ("https://a.example", "file:///etc/passwd", False),
        ("https://a.example", "https:///x", False),
    ],
)
def test_redirects_lead_neither_into_the_open_nor_to_ourselves(
    start: str, target: str, allowed: bool
) -> None:
    assert may_lead_to(start, target) is allowed


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("HTTPS://Registry.Example/x") == ("https", "registry.example", 443)
    assert origin("http://[::1]:5000") == ("http", "::1", 5000)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "a.localhost"])
def test_loopback_is_known_by_name_and_address(host: str) -> None:
    assert is_loopback(host)
    assert not is_loopback(host.replace("l", "x").replace("127", "126").replace("::1", "::2"))


@pytest.mark.parametrize(
    ("registry", "realm", "allowed"),
    [
        ("https://a.example", "https://tokens.example.net/t", True),
        ("https://a.example", "https://8.8.8.8/t", True),
        ("http://a.example", "http://tokens.example.net/t", True),
        ("https://10.0.0.1:5000", "https://10.0.0.2/t", True),
        ("http://registry:5000", "http://10.0.0.2/t", True),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/t", True),
        ("https://a.example", "http://a.example/t", False),
        ("https://10.0.0.1", "http://10.0.0.2/t", False),
        ("https://a.example", "https://10.0.0.5:8500/t", False),
        ("http://a.example", "http://10.0.0.5:8500/t", False),
        ("https://8.8.8.8", "https://192.168.1.1/t", False),
        ("https://a.example", "https://100.64.0.1/t", False),
        ("https://a.example", "https://[fd00::1]/t", False),
        ("https://a.example", "https://[64:ff9b::a00:1]/t", False),
        ("https://a.example", "https://metadata.google.internal/t", False),
        ("https://a.example", "https://127.0.0.1/t", False),
        ("https://a.example", "file:///etc/passwd", False),
    ],
)
def test_a_realm_is_asked_neither_in_the_open_nor_inside_of_a_network(
    registry: str, realm: str, allowed: bool
) -> None:
    assert may_ask(registry, realm) is allowed


def test_a_realm_inside_of_a_network_may_be_allowed_by_name() -> None:
    assert may_ask("https://registry.corp.example", "https://10.0.0.5/t", {"10.0.0.5"})
    assert may_ask("https://registry.corp.example", "https://10.0.0.5:8443/t", {"10.0.0.5:8443"})
    assert not may_ask("https://registry.corp.example", "http://10.0.0.5/t", {"10.0.0.5"})
    assert not may_ask("https://registry.corp.example", "https://127.0.0.1/t", {"127.0.0.1"})


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_an_address_of_the_internet_is_global(address: str) -> None:
    assert is_global(address)


INSIDE = [
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255",
    "127.0.0.1", "0.0.0.0", "0.1.2.3", "169.254.169.254", "100.100.100.200", "168.63.129.16",
    "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
    "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
    "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a00:1::1", "2001:db8::1", "100::1",
]  # fmt: skip


@pytest.mark.parametrize("address", [*INSIDE, "fe80::1%eth0", "2606:4700::1111%1", "a.example", ""])
def test_no_other_address_is(address: str) -> None:
    assert not is_global(address)


@pytest.mark.parametrize(
    "host",
    ["a.example", "a.b.example:5000", "8.8.8.8", "[2606:4700::1111]:443", "10.0.0.1.nip.example"],
)
def test_what_may_be_on_the_internet_leads_outside(host: str) -> None:
    assert leads_outside(f"https://{host}")


@pytest.mark.parametrize(
    "host",
    [
        *(f"[{one}]" if ":" in one else one for one in INSIDE),
        "[::ffff:8.8.8.8]", "[64:ff9b::808:808]", "[fe80::1%25eth0]", "intra", "intra:8080",
        "intra.", "localhost", "a.localhost", "127.1", "0x7f000001", "2130706433", "10.1",
        "metadata.google.internal", "metadata.goog", "db.svc.cluster.local", "x.home.arpa", "",
        "a.example:99999", "[broken", "1:2:3",
    ],
)  # fmt: skip
def test_what_is_some_network_s_own_does_not(host: str) -> None:
    assert not leads_outside(f"https://{host}")
