"""Endpoints: one address at which an upstream is asked, as a line `URL weight=N cost=N`."""

import math
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from entrepot.config.errors import Refusal
from entrepot.config.kinds import Kind, list_of
from entrepot.config.urls import registry_origin

MAX_WEIGHT: Final = 1000

_DNS: Final = re.compile(r"dns\+https?://[^\s/:@?#]+(?::([0-9]{1,5}))?(?:/[^\s?#@]*)?", re.ASCII)
_SRV: Final = re.compile(
    r"srv\+https?://_[A-Za-z0-9-]+\._tcp\.[A-Za-z0-9._-]+(?:/[^\s?#@]*)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """One endpoint. `url` has no slash at its end and no `/v2`; of endpoints that take turns one
    of `weight` 3 gets thrice as much as one of 1, and one of 0 nothing while another is well;
    `cost` is in any unit, the same for all."""

    url: str
    weight: int = 1
    cost: float = 0.0


def parse_endpoint(text: str) -> EndpointSettings:
    """Read `https://mirror.example/prefix weight=3 cost=0.5`. Raise Refusal (a ValueError)."""
    url, *options = text.split() or [""]
    found: dict[str, float] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if key not in ("weight", "cost") or not equals or key in found:
            raise Refusal("behind the URL there may be weight=N and cost=N, each once")
        found[key] = _number(key, value)
    return EndpointSettings(
        registry_origin(url), weight=int(found.get("weight", 1)), cost=found.get("cost", 0.0)
    )


def _number(key: str, text: str) -> float:
    try:
        number = int(text) if key == "weight" else float(text)
    except ValueError:
        raise Refusal(f"{key} must be a number") from None
    if key == "weight" and not 0 <= number <= MAX_WEIGHT:
        raise Refusal(f"weight must be a whole number from 0 to {MAX_WEIGHT}")
    if not (math.isfinite(number) and number >= 0):
        raise Refusal("cost must be 0 or more")
    return number


def _checked(text: str) -> str:
    parse_endpoint(text)
    return text


def _discovery(value: object) -> str:
    if not isinstance(value, str):
        raise Refusal('it must be a string such as "dns+https://registry.example.com:5000"')
    dns = _DNS.fullmatch(value)
    usable = dns is not None and 0 < int(dns[1] or 443) <= 65535
    if value and not usable and _SRV.fullmatch(value) is None:
        raise Refusal(
            'it must be "dns+https://HOST:PORT" or "srv+https://_SERVICE._tcp.DOMAIN", or empty'
        )
    return value


ENDPOINTS: Final = list_of(
    _checked,
    "list of endpoints",
    'a list of URLs such as "https://mirror.example.com/prefix weight=3 cost=0.5"',
)
DISCOVERY: Final = Kind(
    "URL",
    'empty, "dns+https://HOST:PORT" or "srv+https://_SERVICE._tcp.DOMAIN"',
    _discovery,
    _discovery,
)


def _dns_server(value: object) -> str:
    text = value if isinstance(value, str) else None
    if text is None:
        raise Refusal("it must be a string")
    if text:
        address, _, port = text.rpartition(":")
        try:
            ip_address(address.strip("[]"))
            usable = 0 < int(port) <= 65535
        except ValueError:
            usable = False
        if not usable:
            raise Refusal('it must be "ADDRESS:PORT" with an IP address, or empty')
    return text


DNS_SERVER: Final = Kind("address", 'empty, or "ADDRESS:PORT"', _dns_server, _dns_server)
