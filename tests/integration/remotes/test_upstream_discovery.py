"""BE-08: endpoints found by DNS, by a real server whose answers change."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from entrepot.adapters.remotes.discovery import FoundEndpoint, resolve
from entrepot.adapters.remotes.dns_client import DnsClient, read_servers
from entrepot.oci.errors import ConnectionLost, HostUnknown, Unsupported
from entrepot.oci.reference import Tag
from entrepot.protocol.dns import Kind
from entrepot.testing import MockRegistry
from entrepot.testing.free_ports import free_port
from tests.integration.remotes.upstreams import opened
from tests.programs import require_program
from tests.remote_registries import name
from tests.waiting import wait_until

SERVICE = "srv+https://_registry._tcp.test"


@dataclass
class NameServer:
    """A running dnsmasq, which knows the addresses in a file and the services of its options."""

    port: int
    hosts: Path
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> DnsClient:
        return DnsClient([("127.0.0.1", self.port)], timeout=1.0)

    def tell(self, *lines: str) -> None:
        """Change the addresses, as an operator does."""
        self.hosts.write_text("\n".join([*lines, ""]))
        self.process.send_signal(signal.SIGHUP)


@contextmanager
def dnsmasq(
    folder: Path, *lines: str, options: tuple[str, ...] = (), port: int | None = None
) -> Iterator[NameServer]:
    port = port or free_port()
    hosts = folder / "hosts"
    hosts.write_text("\n".join([*lines, ""]))
    command = [str(require_program("dnsmasq")), "--keep-in-foreground", f"--port={port}"]
    command += ["--listen-address=127.0.0.1", "--bind-interfaces", "--conf-file=/dev/null"]
    command += ["--no-resolv", "--no-hosts", f"--addn-hosts={hosts}", "--local-ttl=1"]
    command += ["--pid-file=", "--user=root", "--local=/test/", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    made = NameServer(port, hosts, process)
    try:
        wait_until(lambda: _answers(made))
        yield made
    finally:
        process.kill()
        process.communicate()


def _answers(server: NameServer) -> bool:
    assert server.process.poll() is None, (server.process.communicate()[1] or b"").decode()
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) == 0


def urls(found: tuple[FoundEndpoint, ...]) -> list[str]:
    return [one.url for one in found]


@pytest.mark.real("dnsmasq")
class TestDnsmasq:
    def test_every_address_is_an_endpoint_and_a_change_is_seen(self, tmp_path: Path) -> None:
        first = ("127.0.0.2 pool.test", "127.0.0.3 pool.test", "::1 pool.test")
        with dnsmasq(tmp_path, *first) as server:
            found = asyncio.run(resolve("dns+https://pool.test:5000/key/", server.client))
            assert urls(found.endpoints) == [
                "https://pool.test:5000/key#127.0.0.2",
                "https://pool.test:5000/key#127.0.0.3",
                "https://pool.test:5000/key#::1",
            ]
            assert found.ttl == 1.0
            server.tell("127.0.0.3 pool.test")
            changed = ["https://pool.test:443#127.0.0.3"]
            wait_until(
                lambda: (
                    urls(asyncio.run(resolve("dns+https://pool.test", server.client)).endpoints)
                    == changed
                )
            )

    def test_services_come_with_their_port_weight_and_priority(self, tmp_path: Path) -> None:
        options = (
            "--srv-host=_registry._tcp.test,far.test,5001,20,0",
            "--srv-host=_registry._tcp.test,Near.test,5000,10,7",
            "--srv-host=_registry._tcp.test,near2.test,5000,10,70",
        )
        with dnsmasq(tmp_path, options=options) as server:
            found = asyncio.run(resolve(SERVICE, server.client))
        assert found.endpoints == (
            FoundEndpoint("https://near2.test:5000", 70, 10),
            FoundEndpoint("https://near.test:5000", 7, 10),
            FoundEndpoint("https://far.test:5001", 1, 20),
        )

    def test_an_alias_is_followed(self, tmp_path: Path) -> None:
        alias = ("--cname=pool.test,real.test",)
        with dnsmasq(tmp_path, "127.0.0.2 real.test", options=alias) as server:
            found = asyncio.run(resolve("dns+https://pool.test:1", server.client))
        assert urls(found.endpoints) == ["https://pool.test:1#127.0.0.2"]

    def test_what_is_too_long_for_a_datagram_comes_by_tcp(self, tmp_path: Path) -> None:
        many = [f"127.1.{number // 200}.{number % 200 + 1} pool.test" for number in range(300)]
        with dnsmasq(tmp_path, *many) as server:
            found = asyncio.run(resolve("dns+https://pool.test:5000", server.client))
        assert len(found.endpoints) == 300

    def test_what_nobody_knows_is_told(self, tmp_path: Path) -> None:
        with dnsmasq(tmp_path, "127.0.0.2 pool.test") as server:
            with pytest.raises(HostUnknown, match=r"other\.test"):
                asyncio.run(resolve("dns+https://other.test:5000", server.client))
            with pytest.raises(HostUnknown, match=r"_registry\._tcp\.test"):
                asyncio.run(resolve(SERVICE, server.client))

    async def test_an_endpoint_is_asked_at_its_address_under_its_name(
        self, tmp_path: Path, mock: MockRegistry
    ) -> None:
        image = mock.add_image("tests/one", "latest", layers=0)
        with dnsmasq(tmp_path, "127.0.0.1 pool.test") as server:
            found = await resolve(f"dns+http://pool.test:{mock.port}", server.client)
        (one,) = found.endpoints
        async with opened(one.url, insecure=True) as endpoint:
            descriptor, _ = await endpoint.manifest(name(), Tag("latest"))
        assert descriptor == image.descriptor
        assert {record.header("host") for record in mock.requests} == {f"pool.test:{mock.port}"}


async def test_a_server_that_does_not_answer_is_followed_by_the_next() -> None:
    gone = DnsClient([("127.0.0.1", free_port()), ("127.0.0.1", free_port())], timeout=0.2)
    with pytest.raises(ConnectionLost, match=r"no DNS server answers about pool\.test"):
        await resolve("dns+https://pool.test:5000", gone)


async def test_answers_to_other_questions_are_passed_over() -> None:
    """Who guesses must guess the id as well: a forged answer does not count, and does no harm."""

    class Forger(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            number, question = data[:2], data[12:]
            address = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04"
            for answer, last in ((bytes([number[0] ^ 1, number[1]]), 66), (number, 1)):
                reply = answer + b"\x81\x80\0\x01\0\x01\0\0\0\0" + question + address
                self.transport.sendto(reply + bytes([192, 0, 2, last]), addr)
            self.transport.sendto(b"noise", addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Forger, local_addr=("127.0.0.1", 0)
    )
    try:
        client = DnsClient([transport.get_extra_info("sockname")[:2]], timeout=2.0)
        assert (await client.ask("pool.test", Kind.A)).addresses == ("192.0.2.1",)
    finally:
        transport.close()


@pytest.mark.parametrize(
    "setting", ["", "https://x.test", "dns+ftp://x.test", "srv+https://x.test", "dns+https://a b"]
)
async def test_what_is_no_discovery_is_refused(setting: str) -> None:
    with pytest.raises(Unsupported, match="discovery"):
        await resolve(setting)


def test_servers_are_those_of_the_system(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# x\nsearch a.test\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n")
    assert read_servers(file) == (("192.0.2.1", 53), ("fe80::1%eth0", 53))
    assert read_servers(tmp_path / "none") == (("127.0.0.1", 53),)
