"""Discovery: an upstream's endpoints, found by DNS.

dns+https://HOST:PORT[/path]            every address of a name, asked under that name
srv+https://_SERVICE._tcp.DOMAIN[/path] the hosts and ports of its SRV records (RFC 2782)
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final

from entrepot.adapters.remotes.dns_client import DnsClient
from entrepot.oci.errors import ConnectionLost, HostUnknown, Unavailable, Unsupported
from entrepot.protocol.dns import Answer, Kind

SHORTEST: Final = 1.0
LONGEST: Final = 3600.0
"""For how long an answer holds at least and at most, in seconds, whatever DNS says."""

_DNS: Final = re.compile(
    r"dns\+(https?)://([A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(/[!-\"$->@-~]*)?", re.ASCII
)
_SRV: Final = re.compile(
    r"srv\+(https?)://(_[A-Za-z0-9-]+\._tcp\.[A-Za-z0-9._-]+)(/[!-\"$->@-~]*)?", re.ASCII
)
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class FoundEndpoint:
    """An endpoint: a URL for `open_endpoint`, with the address to connect to behind `#` where
    its host has several. Those of the lowest `priority` come first, among them each counts by its
    `weight`, at least 1."""

    url: str
    weight: int = 1
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Discovered:
    """The endpoints that DNS knows now, in a stable order; `ttl` is for how many seconds."""

    endpoints: tuple[FoundEndpoint, ...]
    ttl: float


async def resolve(discovery: str, client: DnsClient | None = None) -> Discovered:
    """Find the endpoints that a `discovery` setting means now; there is at least one.

    Raise HostUnknown if DNS knows none, ConnectionLost if it does not answer, Unsupported if the
    setting is none.
    """
    client = client or DnsClient()
    if (match := _DNS.fullmatch(discovery)) is not None:
        scheme, host, port, path = match.groups(default="")
        base = f"{scheme}://{host}:{port or _PORTS[scheme]}{path.rstrip('/')}"
        addresses, ttl = await _addresses(client, host)
        found = [FoundEndpoint(f"{base}#{address}") for address in addresses]
    elif (match := _SRV.fullmatch(discovery)) is not None:
        scheme, service, path = match.groups(default="")
        answer = await client.ask(service, Kind.SRV)
        ttl = answer.ttl
        found = _services(answer, scheme, path.rstrip("/"))
    else:
        raise Unsupported(
            "discovery must be dns+https://HOST:PORT or srv+https://_SERVICE._tcp.DOMAIN"
        )
    if not found:
        raise HostUnknown(f"DNS knows no endpoint of {discovery}; check its records")
    ordered = sorted(found, key=lambda one: (one.priority, -one.weight, one.url))
    return Discovered(tuple(dict.fromkeys(ordered)), min(LONGEST, max(SHORTEST, float(ttl))))


async def _addresses(client: DnsClient, host: str) -> tuple[list[str], int]:
    """Return a name's addresses of both kinds. One kind is enough where the other fails."""
    said = await asyncio.gather(
        client.ask(host, Kind.A), client.ask(host, Kind.AAAA), return_exceptions=True
    )
    answers = [one for one in said if isinstance(one, Answer) and one.addresses]
    if not answers:
        for one in said:
            if isinstance(one, BaseException) and not isinstance(one, Unavailable):
                raise one
        lost = [one for one in said if isinstance(one, ConnectionLost)]
        raise lost[0] if lost else HostUnknown(f"DNS knows no address of {host}; check its records")
    return [text for one in answers for text in one.addresses], min(one.ttl for one in answers)


def _services(answer: Answer, scheme: str, path: str) -> list[FoundEndpoint]:
    """Return the endpoints of SRV records; an empty target says that there is none."""
    return [
        FoundEndpoint(
            f"{scheme}://{one.target.lower()}:{one.port}{path}", max(1, one.weight), one.priority
        )
        for one in answer.services
        if one.target and one.port
    ]
