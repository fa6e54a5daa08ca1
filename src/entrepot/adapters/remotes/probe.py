"""Probes with plain sockets: see `ports/probe.py`. Everything that blocks runs in a thread."""

import asyncio
import os
import shutil
import socket
import ssl
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from entrepot.adapters.remotes.transport_proxy import proxy_for, unproxied
from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.adapters.remotes.transport_trust import system_trust, trust_for
from entrepot.oci.errors import CertificateRefused, ConnectionLost, HostUnknown, Unavailable
from entrepot.ports.probe import Certificate, Directory, Distrust

SECONDS: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}

# OpenSSL's codes of verification (x509_vfy.h).
_DISTRUST: Final[Mapping[int, Distrust]] = {
    9: "early", 10: "expired", 62: "name", 64: "name",
    2: "authority", 18: "authority", 19: "authority", 20: "authority", 21: "authority",
    27: "authority", 28: "authority",
}  # fmt: skip


class SocketProbe:
    """Looks at the way to the endpoint at `url`, which may have an address to connect to behind
    `#`. Raise Unsupported for a proxy setting that cannot be used."""

    def __init__(self, url: str, settings: TransportSettings, environ: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        scheme = parts.scheme or "https"
        self.secure = scheme == "https"
        self._name = parts.hostname or ""
        self._settings = settings
        self._environ = environ
        self._host, self._port = parts.fragment or self._name, parts.port or _PORTS[scheme]
        proxy = proxy_for(scheme, settings.proxy, environ)
        never_direct = settings.proxy_all and settings.proxy
        if proxy is not None and (never_direct or not _is_direct(self._name, unproxied(environ))):
            self.proxy = proxy.url
            through = urlsplit(proxy.url)
            self._host = through.hostname or ""
            self._port = through.port or _PORTS[through.scheme]
        else:
            self.proxy = ""

    @property
    def place(self) -> str:
        """See `EndpointProbe.place`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    async def addresses(self) -> Sequence[str]:
        """See `EndpointProbe.addresses`."""
        return await asyncio.to_thread(self._addresses)

    async def connect(self) -> float:
        """See `EndpointProbe.connect`."""
        return await asyncio.to_thread(self._connect)

    async def certificate(self) -> Certificate:
        """See `EndpointProbe.certificate`."""
        return await asyncio.to_thread(self._certificate)

    def _addresses(self) -> Sequence[str]:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            words = getattr(error, "strerror", None) or "it is no name"
            raise HostUnknown(f"{self._host} cannot be resolved: {words}") from None
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def _connect(self) -> float:
        began = time.monotonic()
        self._socket().close()
        return time.monotonic() - began

    def _certificate(self) -> Certificate:
        context = self._context()
        with self._socket() as plain:
            try:
                with context.wrap_socket(plain, server_hostname=self._name) as wrapped:
                    return _certificate(wrapped.getpeercert() or {})
            except ssl.SSLCertVerificationError as error:
                raise CertificateRefused(
                    f"the certificate of {self._name} is not accepted: {error.verify_message}",
                    detail={"distrust": _DISTRUST.get(error.verify_code, "other")},
                ) from None
            except ssl.SSLError as error:
                words = (error.reason or "an error").replace("_", " ").lower()
                raise CertificateRefused(
                    f"TLS with {self.place} failed: {words}", detail={"distrust": "other"}
                ) from None
            except OSError as error:
                words = error.strerror or "no answer in time"
                raise ConnectionLost(f"{self.place} broke off TLS: {words}") from None

    def _socket(self) -> socket.socket:
        seconds = min(self._settings.connect_timeout, SECONDS)
        try:
            return socket.create_connection((self._host, self._port), timeout=seconds)
        except TimeoutError:
            raise ConnectionLost(f"{self.place} does not answer within {seconds:g} s") from None
        except OSError as error:
            words = error.strerror or str(error)
            raise ConnectionLost(f"{self.place} cannot be reached: {words}") from None

    def _context(self) -> ssl.SSLContext:
        host = self._name if self._port == _PORTS["https"] else f"{self._name}:{self._port}"
        trust = trust_for(host, self._settings, system_trust(self._environ))
        bundle = trust.bundle.decode("ascii", "replace") or None
        try:
            context = ssl.create_default_context(
                cafile=trust.file, capath=trust.folder, cadata=bundle
            )
            if trust.certificate is not None:
                context.load_cert_chain(trust.certificate, trust.key, password="")
        except (ssl.SSLError, OSError, ValueError) as error:
            words = getattr(error, "reason", None) or getattr(error, "strerror", None) or "an error"
            raise CertificateRefused(
                f"the certificates that are configured cannot be used: {words}",
                detail={"distrust": "other"},
            ) from None
        return context


class FileDirectoryProbe:
    """A `DirectoryProbe` of this machine's files."""

    async def directory(self, path: Path) -> Directory:
        """See `DirectoryProbe.directory`. Raise Unavailable if not even the disk can be looked
        at."""
        return await asyncio.to_thread(_directory, path)


def _directory(path: Path) -> Directory:
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise Unavailable(f"{path} cannot be looked at: {error.strerror}") from None
    return Directory(path, path.is_dir(), there.is_dir() and _is_writable(there), free)


def _is_writable(path: Path) -> bool:
    # Only an attempt tells: there are read-only mounts, and root, whom no mode keeps out.
    try:
        descriptor, name = tempfile.mkstemp(prefix=".probe-", dir=path)
    except OSError:
        return False
    os.close(descriptor)
    os.unlink(name)
    return True


def _certificate(decoded: Mapping[str, Any]) -> Certificate:
    names = tuple(str(value) for kind, value in decoded.get("subjectAltName", ()) if kind)
    issuer = {key: value for part in decoded.get("issuer", ()) for key, value in part}
    shown = issuer.get("commonName") or issuer.get("organizationName") or "unknown"
    return Certificate(names, str(shown), float(ssl.cert_time_to_seconds(decoded["notAfter"])))


def _is_direct(host: str, listed: str) -> bool:
    """Say whether `no_proxy` names a host, or a domain that it is in."""
    entries = (one.strip().lower().lstrip(".").partition(":")[0] for one in listed.split(","))
    return any(one == "*" or host == one or host.endswith(f".{one}") for one in entries if one)
