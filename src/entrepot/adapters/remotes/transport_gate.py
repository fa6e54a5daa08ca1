"""A gate in front of connections: to addresses on the internet only.

Where anybody may name a registry, a name may mean any address, and each answer may name the next
server: of tokens, of storage. So the address is judged when a connection is made, whatever led
there.
"""

import ipaddress
import re
import socket
from typing import Any, Final

import pycurl

from entrepot.rules.realms import is_global

_SEPARATORS: Final = re.compile(r"[,\s]+")


class Gate:
    """Opens the sockets of one transfer. `refused` says that an address was not allowed."""

    def __init__(self) -> None:
        self.refused = False

    def open(self, _purpose: int, address: Any) -> Any:
        """Return a socket for an address, or tell libcurl that there is none."""
        internet = address.family in (socket.AF_INET, socket.AF_INET6)
        if not internet or not is_global(address.addr[0]):
            self.refused = True
            return pycurl.SOCKET_BAD
        return _Handed(address.family, address.socktype, address.protocol)


class _Handed(socket.socket):
    """A socket that libcurl gets a copy of; this one is closed once it has."""

    def __del__(self) -> None:
        self.close()


def is_unproxied(host: str, unproxied: str) -> bool:
    """Say whether a host, without port, is one that is asked without a proxy, as `no_proxy`
    lists them: `*`, domains with all below them, addresses and networks."""
    bare = host.strip("[]").rstrip(".").lower()
    for entry in filter(None, _SEPARATORS.split(unproxied.lower())):
        domain = entry.strip(".")
        if entry == "*" or bare == domain or bare.endswith(f".{domain}"):
            return True
        try:
            if ipaddress.ip_address(bare) in ipaddress.ip_network(entry.strip("[]"), strict=False):
                return True
        except ValueError:
            continue
    return False
