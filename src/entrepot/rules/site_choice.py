"""Site choice: which bucket of object storage is near a client, by the client's address.

An address belongs to the longest network that holds it. IPv4 addresses that came over an IPv6
socket (`::ffff:192.0.2.1`) count as IPv4.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, Generic, TypeVar

from entrepot.oci.errors import Unsupported

Address = IPv4Address | IPv6Address
Value = TypeVar("Value")

_BITS: Final = {4: 32, 6: 128}
_MOST_HOPS: Final = 64
_WITH_PORT: Final = re.compile(r"\[([0-9a-f:.%a-z]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+", re.ASCII)
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


class NetworkTable(Generic[Value]):
    """Values by network. A look-up costs one step per different prefix length, however many
    networks there are: clouds publish thousands of some twenty lengths."""

    def __init__(self, networks: Iterable[tuple[str, Value]] = ()) -> None:
        """Take networks in CIDR form. Raise Unsupported if one has two different values,
        ValueError if one is none."""
        self._lengths: dict[int, list[tuple[int, dict[int, Value]]]] = {4: [], 6: []}
        tables: dict[tuple[int, int], dict[int, Value]] = {}
        for text, value in networks:
            version, shift, prefix = _network(text)
            table = tables.setdefault((version, shift), {})
            if table.setdefault(prefix, value) != value:
                raise Unsupported(
                    f"the network {text} belongs to {table[prefix]} and to {value}; give it to one"
                )
        for version, shift in sorted(tables):  # the fewest bits shifted off are the longest prefix
            self._lengths[version].append((shift, tables[version, shift]))

    def find(self, address: Address) -> Value | None:
        """Return the value of the longest network that holds an address."""
        address = unmapped(address)
        number = int(address)
        for shift, table in self._lengths[address.version]:
            prefix = number >> shift
            if prefix in table:
                return table[prefix]
        return None

    def __bool__(self) -> bool:
        return any(self._lengths.values())


def sites_by_network(sites: Mapping[str, Iterable[str]]) -> NetworkTable[str]:
    """Return the table of sites, given each site's networks. Raise Unsupported if two sites claim
    the same network."""
    return NetworkTable((network, site) for site, every in sites.items() for network in every)


def trusted_networks(networks: Iterable[str]) -> NetworkTable[bool]:
    """Return the table of networks whose word is taken for where a request came from."""
    return NetworkTable((network, True) for network in networks)


def client_address(
    peer: str, forwarded_for: Sequence[str], trusted: NetworkTable[bool]
) -> Address | None:
    """Return the address of who has asked: the last one that no trusted proxy has.

    `peer` is the other side of the connection; empty is a UNIX socket, believed where any network
    is trusted. `forwarded_for` are the `X-Forwarded-For` fields in their order. Each hop has added
    the address that it saw on the right, so they are walked from there, and only as long as the
    one who says so is trusted: a client can put anything on the left. None if nobody knows.
    """
    seen = _address(peer)
    if seen is None and (peer or not trusted):
        return None
    hops = [hop for line in forwarded_for for hop in line.split(",")]
    for hop in reversed(hops[-_MOST_HOPS:]):
        if seen is not None and not trusted.find(seen):
            return seen
        said = _address(hop.strip())
        if said is None:  # `unknown`, or rubbish: whoever is behind it cannot be told
            return seen
        seen = said
    return seen


def unmapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _address(text: str) -> Address | None:
    """Read an address; some proxies add its port, or a zone."""
    found = _WITH_PORT.fullmatch(text.lower())
    bare = (found[1] or found[2]) if found else text
    try:
        return unmapped(ip_address(bare))
    except ValueError:
        return None


def _network(text: str) -> tuple[int, int, int]:
    """Return a network's version, the number of bits behind its prefix, and the prefix."""
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        network = IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    shift = _BITS[network.version] - network.prefixlen
    return network.version, shift, int(network.network_address) >> shift
