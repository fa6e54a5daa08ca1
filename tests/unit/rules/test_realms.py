import pytest

from entrepot.rules.realms import is_loopback, may_lead_to, may_send_login, origin


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
