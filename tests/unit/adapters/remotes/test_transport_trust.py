"""Whom a connection trusts, put together from the system, settings and folders."""

from pathlib import Path

import pytest

from entrepot.adapters.remotes.transport_settings import CERTIFICATE_FOLDERS, TransportSettings
from entrepot.adapters.remotes.transport_trust import (
    Trust,
    host_folder,
    system_trust,
    trust_for,
)
from entrepot.oci.errors import CertificateRefused

PEM = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n"


def pem(folder: Path, name: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(PEM % name.encode())
    return file


def test_the_environment_names_the_system_s_authorities() -> None:
    file, folder = Path("/a/b.pem"), Path("/a/certs")
    assert system_trust({"SSL_CERT_FILE": "/a/b.pem"}) == Trust(file)
    assert system_trust({"SSL_CERT_DIR": "/a/certs"}) == Trust(None, folder)
    both = {"SSL_CERT_FILE": "/a/b.pem", "SSL_CERT_DIR": "/a/certs"}
    assert system_trust(both) == Trust(file, folder)


def test_the_system_s_authorities_are_found() -> None:
    found = system_trust({})
    place = found.file or found.folder
    assert place is not None
    assert place.exists()


def test_without_anything_of_our_own_the_system_s_file_is_used_as_it_is(tmp_path: Path) -> None:
    system = Trust(pem(tmp_path, "system.pem"), tmp_path)
    settings = TransportSettings(certificate_folders=())
    assert trust_for("host", settings, system) == system


def test_our_own_authorities_stand_beside_the_system_s(tmp_path: Path) -> None:
    system = Trust(pem(tmp_path, "system.pem"))
    pem(tmp_path, "host:5000/b.crt")
    pem(tmp_path, "host:5000/a.crt")
    settings = TransportSettings(ca_file=pem(tmp_path, "ours"), certificate_folders=(tmp_path,))
    bundle = trust_for("host:5000", settings, system).bundle
    order = [bundle.index(name) for name in (b"ours", b"a.crt", b"b.crt", b"system.pem")]
    assert order == sorted(order)
    assert b"a.crt" not in trust_for("host", settings, system).bundle


def test_the_first_folder_of_a_host_is_the_only_one(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    pem(first, "host/a.crt")
    pem(second, "host/b.crt")
    pem(second, "other/c.crt")
    assert host_folder("host", (first, second)) == first / "host"
    assert host_folder("other", (first, second)) == second / "other"
    assert host_folder("none", (first, second)) is None


def test_the_folders_are_podman_s_and_docker_s() -> None:
    assert [str(folder) for folder in CERTIFICATE_FOLDERS] == [
        "~/.config/containers/certs.d",
        "/etc/containers/certs.d",
        "/etc/docker/certs.d",
    ]


def test_a_host_s_client_certificate_gives_way_to_a_named_one(tmp_path: Path) -> None:
    system = Trust(pem(tmp_path, "system.pem"))
    certificate, key = pem(tmp_path, "host/c.cert"), pem(tmp_path, "host/c.key")
    settings = TransportSettings(certificate_folders=(tmp_path,))
    assert trust_for("host", settings, system) == Trust(system.file, None, b"", certificate, key)
    named, its_key = pem(tmp_path, "named.pem"), pem(tmp_path, "named.key")
    settings = TransportSettings(
        certificate_folders=(tmp_path,), client_certificate=named, client_key=its_key
    )
    assert trust_for("host", settings, system) == Trust(system.file, None, b"", named, its_key)


def test_a_client_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    pem(tmp_path, "host/c.cert")
    settings = TransportSettings(certificate_folders=(tmp_path,))
    with pytest.raises(CertificateRefused, match=r"put it at .*/host/c\.key"):
        trust_for("host", settings, Trust())


@pytest.mark.parametrize("field", ["ca_file", "client_certificate", "client_key"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, field: str) -> None:
    settings = TransportSettings(certificate_folders=(), **{field: tmp_path / "missing.pem"})
    with pytest.raises(CertificateRefused, match=r"missing\.pem cannot be read"):
        trust_for("host", settings, Trust())
