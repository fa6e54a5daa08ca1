"""TLS and HTTP/2 against our own server: whom we trust, who we say we are, what is shared."""

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from entrepot.adapters.remotes.exchange import Body, Request
from entrepot.adapters.remotes.transport import CurlTransport
from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.oci.errors import CertificateRefused, ConnectionLost, RegistryError
from entrepot.testing.free_ports import free_port
from tests.certificates import Certificate, make_certificate
from tests.integration.remotes.scripted_server import Peer, echo, respond, scripted
from tests.server import RunningServer

pytestmark = pytest.mark.real("openssl")
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class SecureServer:
    running: RunningServer
    certificate: Certificate

    @property
    def url(self) -> str:
        return self.running.url


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServer]:
    folder = tmp_path_factory.mktemp("transport-tls")
    certificate = make_certificate(folder)
    settings = certificate.settings()
    server = RunningServer(folder, workers=2, settings=settings, tls=certificate.client())
    yield SecureServer(server, certificate)
    assert server.stop() == 0
    assert "Traceback" not in server.log()


@asynccontextmanager
async def transport(
    folders: tuple[Path, ...] = (), environment: dict[str, str] | None = None, **settings: object
) -> AsyncIterator[CurlTransport]:
    """A transport that sees no certificates of this machine but the system's authorities."""
    made = CurlTransport(
        TransportSettings(certificate_folders=folders, **settings),
        environment or {},
    )
    try:
        yield made
    finally:
        await made.close()


async def version(transport: CurlTransport, request: Request) -> str:
    async with transport.send(request) as response:
        assert response.status == 200
        await response.read(MIB)
        return response.http_version


async def refused(transport: CurlTransport, url: str) -> RegistryError:
    with pytest.raises((CertificateRefused, ConnectionLost)) as caught:
        await version(transport, Request("GET", f"{url}/v2/"))
    return caught.value


# Trust


async def test_a_stranger_is_refused(secure: SecureServer) -> None:
    async with transport() as made:
        error = await refused(made, secure.url)
    assert isinstance(error, CertificateRefused)
    assert f"the certificate of {secure.running.host} is not trusted" in error.message
    assert "--ca-file" in error.message
    assert "--tls-verify=false" in error.message


async def test_a_named_authority_is_trusted(secure: SecureServer) -> None:
    async with transport(ca_file=secure.certificate.certificate) as made:
        assert await version(made, Request("GET", f"{secure.url}/v2/")) == "2"


async def test_a_named_authority_stands_beside_the_system_s(
    secure: SecureServer, tmp_path: Path
) -> None:
    """The system here is what the environment names; the named one is another's."""
    other = make_certificate(tmp_path, "other")
    environment = {"SSL_CERT_FILE": str(secure.certificate.certificate)}
    async with transport(ca_file=other.certificate, environment=environment) as made:
        assert await version(made, Request("GET", f"{secure.url}/v2/")) == "2"
    async with transport(environment=environment) as made:
        assert await version(made, Request("GET", f"{secure.url}/v2/")) == "2"
    environment = {"SSL_CERT_FILE": str(other.certificate)}
    async with transport(environment=environment) as made:
        assert isinstance(await refused(made, secure.url), CertificateRefused)


async def test_the_environment_may_name_a_folder(secure: SecureServer, tmp_path: Path) -> None:
    authority = secure.certificate.certificate
    hashed = await asyncio.create_subprocess_exec(
        "openssl", "x509", "-hash", "-noout", "-in", str(authority),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    name = (await hashed.communicate())[0].decode().strip()
    (tmp_path / f"{name}.0").symlink_to(authority)
    async with transport(environment={"SSL_CERT_DIR": str(tmp_path)}) as made:
        assert await version(made, Request("GET", f"{secure.url}/v2/")) == "2"


async def test_verifying_can_be_left_out(secure: SecureServer) -> None:
    async with transport(verify=False) as made:
        assert await version(made, Request("GET", f"{secure.url}/v2/")) == "2"


async def test_a_certificate_for_another_name_is_refused(secure: SecureServer) -> None:
    url = secure.url.replace("127.0.0.1", "localhost")
    async with transport(ca_file=secure.certificate.certificate) as made:
        error = await refused(made, url)
    assert isinstance(error, CertificateRefused)
    assert "localhost" in error.message


async def test_old_tls_is_refused(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    context = server_context(certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with scripted(echo, tls=context) as server, transport(verify=False) as made:
        error = await refused(made, server.url)
    assert server.host in error.message


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_an_authority_that_cannot_be_read_is_named(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_text(content)
    async with transport(ca_file=file) as made:
        error = await refused(made, "https://127.0.0.1:1")
    assert isinstance(error, CertificateRefused)
    assert str(file) in error.message


# The folders of docker and podman


def folder_for(root: Path, host: str) -> Path:
    folder = root / host
    folder.mkdir(parents=True)
    return folder


async def test_a_host_s_folder_holds_its_authority(secure: SecureServer, tmp_path: Path) -> None:
    folder = folder_for(tmp_path / "certs.d", secure.running.host)
    (folder / "ours.crt").write_bytes(secure.certificate.certificate.read_bytes())
    async with transport((tmp_path / "none", tmp_path / "certs.d")) as made:
        assert await version(made, Request("GET", f"{secure.url}/v2/")) == "2"


async def test_a_host_s_folder_is_for_that_host_only(secure: SecureServer, tmp_path: Path) -> None:
    folder = folder_for(tmp_path, "127.0.0.1:1")
    (folder / "ours.crt").write_bytes(secure.certificate.certificate.read_bytes())
    async with transport((tmp_path,)) as made:
        assert isinstance(await refused(made, secure.url), CertificateRefused)


def server_context(
    certificate: Certificate, *, clients: Certificate | None = None
) -> ssl.SSLContext:
    """A server's context; with `clients` it wants certificates that are signed by it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.certificate)
    return context


@pytest.mark.parametrize("where", ["settings", "folder", "one-file"])
async def test_a_server_may_ask_who_we_are(tmp_path: Path, where: str) -> None:
    certificate, ours = make_certificate(tmp_path), make_certificate(tmp_path, "ours")
    both = tmp_path / "both.pem"
    both.write_bytes(ours.key.read_bytes() + ours.certificate.read_bytes())
    settings: dict[str, object] = {
        "settings": {"client_certificate": ours.certificate, "client_key": ours.key},
        "one-file": {"client_certificate": both},
    }.get(where, {})
    context = server_context(certificate, clients=ours)
    async with (
        scripted(echo, tls=context) as server,
        transport((tmp_path / "certs.d",), ca_file=certificate.certificate, **settings) as made,
    ):
        if where == "folder":
            folder = folder_for(tmp_path / "certs.d", server.host)
            (folder / "client.cert").write_bytes(ours.certificate.read_bytes())
            (folder / "client.key").write_bytes(ours.key.read_bytes())
        assert await version(made, Request("GET", server.url)) == "1.1"


@pytest.mark.parametrize("shown", ["none", "a stranger's"])
@pytest.mark.parametrize("tls", ["-tls1_2", "-tls1_3"])
async def test_a_server_that_does_not_accept_who_we_are(
    tmp_path: Path, shown: str, tls: str
) -> None:
    certificate, other = make_certificate(tmp_path), make_certificate(tmp_path, "other")
    host = f"127.0.0.1:{free_port()}"
    command = ["openssl", "s_server", "-accept", host, tls, "-www", "-Verify", "1"]
    command += ["-verify_return_error", "-CAfile", str(certificate.certificate)]
    command += ["-cert", str(certificate.certificate), "-key", str(certificate.key)]
    null = asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(
        *command, stdin=null, stdout=asyncio.subprocess.PIPE, stderr=null
    )
    assert server.stdout is not None
    await server.stdout.readuntil(b"ACCEPT\n")
    settings: dict[str, object] = {}
    if shown != "none":
        settings = {"client_certificate": other.certificate, "client_key": other.key}
    try:
        async with transport(ca_file=certificate.certificate, **settings) as made:
            error = await refused(made, f"https://{host}")
    finally:
        server.kill()
        await server.wait()
    assert isinstance(error, CertificateRefused)
    assert f"{host} does not accept our client certificate" in error.message


@pytest.mark.parametrize("fault", ["no-key", "mixed-up", "no-pem"])
async def test_a_client_certificate_that_cannot_be_used(tmp_path: Path, fault: str) -> None:
    ours, other = make_certificate(tmp_path, "ours"), make_certificate(tmp_path, "other")
    folder = folder_for(tmp_path / "certs.d", "127.0.0.1:1")
    (folder / "client.cert").write_bytes(ours.certificate.read_bytes())
    if fault == "mixed-up":
        (folder / "client.key").write_bytes(other.key.read_bytes())
    elif fault == "no-pem":
        (folder / "client.key").write_text("no key")
    async with (
        scripted(echo, tls=server_context(ours)) as server,
        transport((tmp_path / "certs.d",), ca_file=ours.certificate) as made,
    ):
        folder.rename(folder.with_name(server.host))
        error = await refused(made, server.url)
    assert isinstance(error, CertificateRefused)
    assert "key" in error.message


# HTTP/2


async def test_small_requests_share_a_connection_and_large_bodies_do_not(
    secure: SecureServer,
) -> None:
    async def one() -> AsyncIterator[bytes]:
        yield b"x"

    ping = f"{secure.url}/v2/"
    async with transport(ca_file=secure.certificate.certificate) as made:
        assert await version(made, Request("GET", ping)) == "2"
        files = open_files()
        assert {
            await first
            for first in asyncio.as_completed(
                [version(made, Request("GET", ping)) for _ in range(20)]
            )
        } == {"2"}
        assert open_files() == files
        uploads = f"{secure.url}/v2/tests/transport/blobs/uploads/"
        async with made.send(Request("POST", uploads, body=Body(1, one))) as response:
            assert response.http_version == "1.1"
        assert await version(made, Request("GET", ping)) == "2"
        assert open_files() == files + 1
        assert await version(made, Request("GET", ping, bulk=True)) == "1.1"
        files = open_files()
        assert await version(made, Request("GET", ping, bulk=True)) == "1.1"
        assert await version(made, Request("GET", ping)) == "2"
        assert open_files() == files


async def test_http_2_can_be_left_out(secure: SecureServer) -> None:
    async with transport(ca_file=secure.certificate.certificate, http2=False) as made:
        assert await version(made, Request("GET", f"{secure.url}/v2/")) == "1.1"


async def test_requests_at_the_same_time_to_a_server_without_http_2(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    together = asyncio.Barrier(10)

    async def script(peer: Peer) -> None:
        while await peer.head():
            await together.wait()
            await peer.send(respond())

    async with (
        scripted(script, tls=server_context(certificate)) as server,
        transport(ca_file=certificate.certificate) as made,
    ):
        await asyncio.gather(*(version(made, Request("GET", server.url)) for _ in range(10)))


@pytest.mark.parametrize("bulk", [False, True])
async def test_a_large_blob_arrives_whole(secure: SecureServer, bulk: bool) -> None:
    """Also when its reader is slow, and others are left in the middle."""
    content = os.urandom(20 * MIB)
    blob = await push(secure, content)

    async def read(made: CurlTransport, pause: float) -> None:
        async with made.send(Request("GET", blob, bulk=bulk)) as response:
            assert response.http_version == ("1.1" if bulk else "2")
            parts = []
            async for chunk in response.chunks():
                parts.append(chunk)
                await asyncio.sleep(pause)
            assert b"".join(parts) == content

    async def leave(made: CurlTransport) -> None:
        async with made.send(Request("GET", blob, bulk=bulk)) as response:
            assert await anext(response.chunks())

    async with transport(ca_file=secure.certificate.certificate) as made:
        await asyncio.gather(read(made, 0), leave(made), read(made, 0.01), leave(made))
        await version(made, Request("HEAD", blob))


@pytest.mark.parametrize("bulk", [False, True])
async def test_a_server_that_dies_in_the_middle_is_lost(tmp_path: Path, bulk: bool) -> None:
    certificate = make_certificate(tmp_path)
    settings = certificate.settings()
    running = RunningServer(tmp_path / "dying", settings=settings, tls=certificate.client())
    try:
        blob = await push(SecureServer(running, certificate), bytes(64 * MIB))
        async with (
            transport(ca_file=certificate.certificate) as made,
            made.send(Request("GET", blob, bulk=bulk)) as response,
        ):
            chunks = response.chunks()
            assert await anext(chunks)
            running.kill()
            with pytest.raises(ConnectionLost, match=running.host):
                async for _ in chunks:
                    pass
    finally:
        running.kill()


async def push(secure: SecureServer, content: bytes) -> str:
    """Push a blob through the transport itself; return its URL."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(content), MIB):
            yield content[at : at + MIB]

    url = f"{secure.url}/v2/tests/transport/blobs"
    async with transport(ca_file=secure.certificate.certificate) as made:
        body = Body(len(content), chunks)
        request = Request("POST", f"{url}/uploads/?digest={digest}", body=body)
        async with made.send(request) as response:
            assert response.status == 201, await response.read(MIB)
    return f"{url}/{digest}"


async def test_plain_http_where_tls_is_spoken(secure: SecureServer) -> None:
    async with transport() as made:
        with pytest.raises(ConnectionLost, match="leave out --plain-http"):
            await version(made, Request("GET", f"http://{secure.running.host}/v2/"))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
