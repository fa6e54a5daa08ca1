"""Which sockets are opened for a registry that nobody has listed, and who asks without a proxy."""

import socket
from types import SimpleNamespace

import pycurl
import pytest

from entrepot.adapters.remotes.transport_gate import Gate, is_unproxied


def address(family: int, *place: object) -> SimpleNamespace:
    """Return an address as libcurl tells it."""
    return SimpleNamespace(family=family, socktype=socket.SOCK_STREAM, protocol=0, addr=place)


def test_a_socket_is_opened_for_an_address_of_the_internet() -> None:
    gate = Gate()
    with gate.open(0, address(socket.AF_INET, "8.8.8.8", 443)) as opened:
        assert opened.family == socket.AF_INET
    assert not gate.refused


@pytest.mark.parametrize(
    "place",
    [
        address(socket.AF_INET, "127.0.0.1", 443),
        address(socket.AF_INET, "10.0.0.1", 443),
        address(socket.AF_INET6, "fd00::1", 443, 0, 0),
        address(socket.AF_INET6, "::ffff:192.168.1.1", 443, 0, 0),
        address(socket.AF_UNIX, "/run/docker.sock"),
    ],
    ids=lambda place: str(place.addr[0]),
)
def test_none_is_opened_for_any_other(place: SimpleNamespace) -> None:
    gate = Gate()
    assert gate.open(0, place) == pycurl.SOCKET_BAD
    assert gate.refused


@pytest.mark.parametrize(
    ("host", "unproxied", "directly"),
    [
        ("a.example", "", False),
        ("a.example", "*", True),
        ("a.example", "other.example, A.example.", True),
        ("x.a.example", "a.example", True),
        ("x.a.example", ".a.example", True),
        ("xa.example", "a.example", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::1", "[fd00::1]", True),
        ("fd00::1", "10.0.0.0/8 fd00::/8", True),
    ],
)
def test_who_is_asked_without_a_proxy(host: str, unproxied: str, directly: bool) -> None:
    assert is_unproxied(host, unproxied) is directly
