from ipaddress import ip_address

import pytest

from entrepot.oci.errors import Unsupported
from entrepot.rules.site_choice import (
    NetworkTable,
    client_address,
    sites_by_network,
    trusted_networks,
)

SITES = sites_by_network(
    {
        "wide": ["10.0.0.0/8", "2001:db8::/32"],
        "narrow": ["10.1.0.0/16", "10.1.2.3/32", "2001:db8:1::/48"],
        "mapped": ["::ffff:192.0.2.0/120"],
        "odd": ["198.51.100.77/24"],
    }
)
PROXIES = trusted_networks(["192.0.2.0/24", "fd00::/8"])


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("10.2.0.1", "wide"),
        ("10.1.0.1", "narrow"),
        ("10.1.255.255", "narrow"),
        ("10.0.255.255", "wide"),
        ("10.1.2.3", "narrow"),
        ("11.0.0.0", None),
        ("9.255.255.255", None),
        ("::ffff:10.1.0.1", "narrow"),
        ("192.0.2.255", "mapped"),
        ("198.51.100.1", "odd"),
        ("2001:db8:1::1", "narrow"),
        ("2001:db8:2::1", "wide"),
        ("2001:db9::1", None),
        ("::a01:1", None),
    ],
)
def test_the_longest_network_counts(address: str, site: str | None) -> None:
    assert SITES.find(ip_address(address)) == site


def test_a_network_of_everything_is_the_last_resort() -> None:
    table = NetworkTable([("0.0.0.0/0", "any"), ("10.0.0.0/8", "ours"), ("::/0", "any six")])
    assert table.find(ip_address("8.8.8.8")) == "any"
    assert table.find(ip_address("10.8.8.8")) == "ours"
    assert table.find(ip_address("2001::1")) == "any six"


def test_two_sites_cannot_claim_one_network() -> None:
    with pytest.raises(Unsupported, match=r"10\.0\.0\.0/8 belongs to a and to b"):
        sites_by_network({"a": ["10.0.0.0/8"], "b": ["10.0.0.0/8"]})
    assert sites_by_network({"a": ["10.0.0.0/8", "10.0.0.0/8"]})


@pytest.mark.parametrize(
    ("peer", "fields", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        # A stranger's word counts for nothing.
        ("203.0.113.9", ["10.1.0.1"], "203.0.113.9"),
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9"], "203.0.113.9"),
        # What stands left of the first untrusted hop is what that one says.
        ("192.0.2.1", ["10.1.0.1, 203.0.113.9"], "203.0.113.9"),
        ("192.0.2.1", ["10.1.0.1", "203.0.113.9"], "203.0.113.9"),
        ("192.0.2.1", ["10.1.0.1, 203.0.113.9, 192.0.2.7"], "203.0.113.9"),
        ("192.0.2.1", ["192.0.2.5, 192.0.2.7"], "192.0.2.5"),
        ("192.0.2.1", ["203.0.113.9, unknown"], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9, , "], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9, 1.2.3"], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("192.0.2.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("192.0.2.1", ["[2001:db8::1]"], "2001:db8::1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:192.0.2.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("", ["203.0.113.9"], "203.0.113.9"),
        ("", ["10.1.0.1, 203.0.113.9"], "203.0.113.9"),
        ("", [], None),
        ("rubbish", ["203.0.113.9"], None),
    ],
)
def test_only_trusted_hops_say_who_asks(peer: str, fields: list[str], client: str | None) -> None:
    """RD-05: a spoofed hop is ignored."""
    assert client_address(peer, fields, PROXIES) == (ip_address(client) if client else None)


def test_nobody_is_trusted_unless_somebody_is_named() -> None:
    nobody = trusted_networks([])
    assert client_address("203.0.113.9", ["10.1.0.1"], nobody) == ip_address("203.0.113.9")
    assert client_address("", ["10.1.0.1"], nobody) is None


def test_an_endless_chain_of_hops_is_walked_a_little() -> None:
    chain = ", ".join(["203.0.113.9"] + ["192.0.2.7"] * 10_000)
    assert client_address("192.0.2.1", [chain], PROXIES) == ip_address("192.0.2.7")
