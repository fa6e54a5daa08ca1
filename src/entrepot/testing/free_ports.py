"""Ports of loopback for servers that must be told theirs before they listen."""

import os
import socket
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from random import SystemRandom
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_BEGIN: Final = 32768
_LOWEST: Final = 10000
_SHARES: Final = 16
"""Into how many parts the ports are divided, so that pytest's workers never draw the same."""


def free_port() -> int:
    """Return a port that nobody listens on, and that nobody is likely to take before the caller.

    It lies below those that the kernel hands out by itself: one of these could go to any
    connection made between this call and the server's start.
    """
    for port in _ports:
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError("ports never end")


def _all_ports() -> Iterator[int]:
    """Yield this process's share of ports for ever, each again only after all the others."""
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
    ports = range(_LOWEST + share, _handed_out_from(), _SHARES)
    return cycle(SystemRandom().sample(ports, len(ports)))


def _handed_out_from() -> int:
    """Return the first port that the kernel gives to connections by itself."""
    try:
        begin = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        return _USUAL_BEGIN
    return begin if begin > _LOWEST + 64 * _SHARES else _USUAL_BEGIN


_ports: Final = _all_ports()
