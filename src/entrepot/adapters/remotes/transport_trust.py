"""Whom TLS trusts, and with which certificate we introduce ourselves.

The libraries inside a wheel look for authorities where they were built, not where this system
keeps them; so the places are looked up here.
"""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.oci.errors import CertificateRefused

_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL, Fedora
    "/etc/pki/tls/certs/ca-bundle.crt",  # older RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/var/lib/ca-certificates/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, Alpine, the BSDs
    "/usr/local/share/certs/ca-root-nss.crt",  # FreeBSD
    "/opt/homebrew/etc/ca-certificates/cert.pem",
    "/usr/local/etc/ca-certificates/cert.pem",
)


@dataclass(frozen=True, slots=True)
class Trust:
    """What a connection to one host is made with.

    The authorities are those of `file` and `folder`, or of `bundle` (PEM) instead of `file`.
    """

    file: Path | None = None
    folder: Path | None = None
    bundle: bytes = b""
    certificate: Path | None = None
    key: Path | None = None


def system_trust(environment: Mapping[str, str]) -> Trust:
    """Find the system's authorities; `SSL_CERT_FILE` and `SSL_CERT_DIR` stand above the rest."""
    named = environment.get("SSL_CERT_FILE")
    folder = environment.get("SSL_CERT_DIR")
    if named or folder:
        return Trust(Path(named) if named else None, Path(folder) if folder else None)
    usual = ssl.get_default_verify_paths()
    for file in (*_BUNDLES, usual.openssl_cafile):
        if file and Path(file).is_file():
            return Trust(Path(file))
    found = Path(usual.openssl_capath)
    return Trust(None, found if found.is_dir() else None)


def host_folder(host: str, roots: Iterable[Path]) -> Path | None:
    """Return the first folder that holds certificates for `host[:port]`, or None."""
    for root in roots:
        folder = root.expanduser() / host
        if folder.is_dir():
            return folder
    return None


def trust_for(host: str, settings: TransportSettings, system: Trust) -> Trust:
    """Put together what a connection to `host[:port]` is made with. Read files.

    Raise CertificateRefused, naming the file that is missing or cannot be read.
    """
    authorities = [settings.ca_file] if settings.ca_file else []
    certificate, key = settings.client_certificate, settings.client_key
    folder = host_folder(host, settings.certificate_folders)
    if folder is not None:
        authorities += sorted(folder.glob("*.crt"))
        if certificate is None:
            certificate, key = _pair(folder)
    for file in (certificate, key):
        if file is not None:
            _read(file)
    if not authorities:
        return Trust(system.file, system.folder, b"", certificate, key)
    added = [_authority(file) for file in authorities]
    own = [_read(system.file)] if system.file and system.file.is_file() else []
    return Trust(None, system.folder, b"\n".join([*added, *own]), certificate, key)


def _pair(folder: Path) -> tuple[Path | None, Path | None]:
    for certificate in sorted(folder.glob("*.cert")):
        key = certificate.with_suffix(".key")
        if not key.is_file():
            raise CertificateRefused(
                f"the client certificate {certificate} has no key beside it; put it at {key}"
            )
        return certificate, key
    return None, None


def _authority(file: Path) -> bytes:
    content = _read(file)
    if b"-----BEGIN " not in content:
        raise CertificateRefused(f"{file} holds no certificate in PEM form; convert it to PEM")
    return content


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CertificateRefused(
            f"{file} cannot be read ({error.strerror or 'an error'}); name a file that holds "
            "certificates in PEM form and that you may read"
        ) from None
