"""A small DNS client: the system's own look-ups tell neither services nor how long they hold.

Every question has an id and a port that nobody can guess, and goes to one server after the other;
what does not answer it is passed over. Names are whole: no search list is tried, and `/etc/hosts`
is not read.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from entrepot.oci.errors import ConnectionLost, HostUnknown, Unsupported
from entrepot.protocol.dns import (
    Answer,
    Kind,
    MessageInvalid,
    Outcome,
    decode_answer,
    encode_query,
)

Server = tuple[str, int]
"""A server's address and port."""

RESOLV_CONF: Final = Path("/etc/resolv.conf")

_PORT: Final = 53
_MOST_SERVERS: Final = 3
_LOCAL: Final = ("127.0.0.1", _PORT)


class DnsClient:
    """Asks `servers`, or those that `resolv_conf` names at the time. `timeout` is for one server,
    in seconds; all are asked `rounds` times. `number` gives ids of 16 bits."""

    def __init__(
        self,
        servers: Sequence[Server] | None = None,
        *,
        resolv_conf: Path = RESOLV_CONF,
        timeout: float = 2.0,
        rounds: int = 2,
        number: Callable[[], int] = lambda: secrets.randbelow(1 << 16),
    ) -> None:
        self._servers = tuple(servers or ())
        self._resolv_conf = resolv_conf
        self._timeout = timeout
        self._rounds = rounds
        self._number = number

    async def ask(self, name: str, kind: Kind) -> Answer:
        """Return what is known of a name; nothing is an answer, too.

        Raise HostUnknown if there is no such name, ConnectionLost if no server answers,
        Unsupported for a name that cannot be asked about.
        """
        servers = self._servers or read_servers(self._resolv_conf)
        for server in servers * self._rounds:
            try:
                answer = await self._ask(server, name, kind)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                continue
            if answer.outcome == Outcome.NO_SUCH_NAME:
                raise HostUnknown(f"DNS knows no name {name}; check how it is spelt, and the DNS")
            if answer.outcome == Outcome.FOUND and not answer.truncated:
                return answer
        shown = ", ".join(f"{host}:{port}" for host, port in servers)
        raise ConnectionLost(f"no DNS server answers about {name} (asked: {shown}); check the DNS")

    async def _ask(self, server: Server, name: str, kind: Kind) -> Answer:
        """Ask one server, by TCP if its answer is too long. Raise OSError, TimeoutError."""
        number = self._number()
        try:
            query = encode_query(number, name, kind)
        except MessageInvalid as error:
            raise Unsupported(f"{error}; check the upstream's `discovery`") from None
        async with asyncio.timeout(self._timeout):
            answer = await _by_udp(
                server, query, lambda got: decode_answer(got, number, name, kind)
            )
        if not answer.truncated:
            return answer
        async with asyncio.timeout(self._timeout):
            message = await _by_tcp(server, query)
        try:
            return decode_answer(message, number, name, kind)
        except MessageInvalid as error:
            raise OSError(str(error)) from None


def read_servers(resolv_conf: Path) -> tuple[Server, ...]:
    """Return the servers that a resolv.conf(5) names: the first three, or this machine."""
    found = []
    with suppress(OSError):
        for line in resolv_conf.read_text("utf-8", "replace").splitlines():
            words = line.split()
            if len(words) >= 2 and words[0] == "nameserver":
                found.append((words[1], _PORT))
    return tuple(found[:_MOST_SERVERS]) or (_LOCAL,)


class _Listener(asyncio.DatagramProtocol):
    """Takes the first datagram that is the answer."""

    def __init__(self, read: Callable[[bytes], Answer]) -> None:
        self._read = read
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        # A forged one must not keep the true one from being heard.
        with suppress(MessageInvalid):
            answer = self._read(data)
            if not self.answer.done():
                self.answer.set_result(answer)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc or ConnectionAbortedError("the socket was closed"))


async def _by_udp(server: Server, query: bytes, read: Callable[[bytes], Answer]) -> Answer:
    # A socket of its own for each question: the kernel gives it a port by chance, and passes on
    # only what comes from the server.
    transport, listener = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Listener(read), remote_addr=server
    )
    try:
        transport.sendto(query)
        return await listener.answer
    finally:
        transport.close()


async def _by_tcp(server: Server, query: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        await writer.drain()
        length = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(length)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
