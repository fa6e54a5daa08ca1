"""doctor: the fault that was seeded is the one that it names (UX-07, in part)."""

import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from entrepot.testing.mock_faults import Headers, HtmlError, RateLimited
from entrepot.testing.mock_registry import MockRegistry
from tests.certificates import Certificate, make_certificate
from tests.integration.cli.program import Program
from tests.programs import require_program

NOBODY = "http://127.0.0.1:9"


class Patient:
    """An upstream that is to be looked at, its certificates and registries."""

    def __init__(self, entrepot: Program, stack: ExitStack) -> None:
        self.entrepot = entrepot
        self.folder = entrepot.folder
        self._stack = stack

    def registry(self, tls: ssl.SSLContext | None = None) -> MockRegistry:
        return self._stack.enter_context(MockRegistry(tls=tls))

    def secure(self, certificate: Certificate) -> MockRegistry:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        return self.registry(context)

    def add(self, url: str, *words: object, input: str = "") -> None:
        self.entrepot("upstream", "add", "sick", "--url", url, *words, input=input)

    def findings(self, expect: int) -> dict[str, dict[str, Any]]:
        done = self.entrepot("doctor", "--json", expect=expect)
        return {row["check"]: row for row in map(json.loads, done.lines)}


@pytest.fixture
def patient(entrepot: Program) -> Iterator[Patient]:
    with ExitStack() as stack:
        yield Patient(entrepot, stack)


def no_dns(patient: Patient) -> None:
    patient.add("https://registry.invalid")


def nobody_listens(patient: Patient) -> None:
    patient.add(NOBODY)


def no_proxy(patient: Patient) -> None:
    patient.add("https://registry.invalid", "--proxy", NOBODY)


def no_registry(patient: Patient) -> None:
    registry = patient.registry()
    registry.fault(HtmlError(502), path="/v2/")
    patient.add(registry.url)


def login_refused(patient: Patient) -> None:
    registry = patient.registry()
    registry.require_basic({"me": "right"})
    patient.add(registry.url, "--username", "me", "--password-stdin", input="wrong\n")


def login_refused_by_the_token_server(patient: Patient) -> None:
    registry = patient.registry()
    registry.require_token(users={"me": "right"})
    patient.add(registry.url, "--username", "me", "--password-stdin", input="wrong\n")


def login_wanted(patient: Patient) -> None:
    registry = patient.registry()
    registry.require_basic({"me": "right"})
    patient.add(registry.url)


def clock_off(patient: Patient) -> None:
    registry = patient.registry()
    registry.fault(Headers({"Date": "Sun, 06 Nov 1994 08:49:37 GMT"}))
    patient.add(registry.url)


def quota_used_up(patient: Patient) -> None:
    registry = patient.registry()
    registry.fault(RateLimited(600))
    patient.add(registry.url)


def unwritable_cache(patient: Patient) -> None:
    (patient.folder / "in the way").touch()
    patient.add(patient.registry().url, "--set", "cache_path=in the way/cache")


FAULTS = {
    "dns": no_dns,
    "tcp": nobody_listens,
    "proxy": no_proxy,
    "registry": no_registry,
    "login": login_refused,
    "login by token": login_refused_by_the_token_server,
    "login wanted": login_wanted,
    "clock": clock_off,
    "quota": quota_used_up,
    "cache": unwritable_cache,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_seeded_fault_is_named(patient: Patient, fault: str) -> None:
    """UX-07."""
    seed: Callable[[Patient], None] = FAULTS[fault]
    seed(patient)
    found = patient.findings(expect=1)
    failed = {check: row for check, row in found.items() if row["state"] == "failed"}
    assert list(failed) == [fault.partition(" ")[0]]
    (row,) = failed.values()
    assert row["upstream"] == "sick"
    assert row["message"]
    assert row["remedy"]


@pytest.mark.real("openssl")
def test_who_is_well_is_found_well(patient: Patient) -> None:
    certificate = make_certificate(patient.folder)
    registry = patient.secure(certificate)
    registry.require_token(users={"me": "right"})
    patient.add(
        registry.url, "--ca-file", certificate.certificate,
        "--username", "me", "--password-stdin", input="right\n",
    )  # fmt: skip
    found = patient.findings(expect=0)
    assert list(found) == ["dns", "tcp", "tls", "registry", "login", "clock", "quota", "cache"]
    assert found["tls"].pop("state") == "warning"  # it ends within a day
    assert {row.get("state", "ok") for row in found.values()} == {"ok"}


def signed(folder: Path, names: str, days: int) -> Certificate:
    """Make a certificate that signs itself; of negative days it has expired."""
    made = Certificate(folder / "own.crt", folder / "own.key")
    request, extensions = folder / "own.csr", folder / "own.ext"
    extensions.write_text(f"subjectAltName={names}\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", made.key)
    by = ("-signkey", made.key, "-extfile", extensions)
    for words in (
        ("req", "-new", *key, "-subj", "/CN=registry.test", "-out", request),
        ("x509", "-req", "-in", request, *by, "-days", days, "-out", made.certificate),
    ):
        command = [str(require_program("openssl")), *map(str, words)]
        subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.mark.real("openssl")
@pytest.mark.parametrize(
    ("names", "days", "words"),
    [("DNS:other.test", 30, "another name"), ("IP:127.0.0.1", -1, "renew")],
    ids=["another name", "expired"],
)
def test_a_certificate_that_does_not_hold(
    patient: Patient, names: str, days: int, words: str
) -> None:
    """UX-07."""
    certificate = signed(patient.folder, names, days)
    patient.add(patient.secure(certificate).url, "--ca-file", certificate.certificate)
    tls = patient.findings(expect=1)["tls"]
    assert tls["state"] == "failed"
    assert words in tls["remedy"]


@pytest.mark.real("openssl")
def test_a_certificate_of_an_unknown_authority(patient: Patient) -> None:
    """UX-07."""
    patient.add(patient.secure(make_certificate(patient.folder)).url)
    tls = patient.findings(expect=1)["tls"]
    assert tls["state"] == "failed"
    assert "ca_file" in tls["remedy"]


@pytest.mark.real("openssl")
def test_insecure_goes_on_behind_it(patient: Patient) -> None:
    patient.add(patient.secure(make_certificate(patient.folder)).url, "--insecure")
    found = patient.findings(expect=0)
    assert found["tls"]["state"] == "warning"
    assert found["registry"]["state"] == "ok"


def test_people_get_a_table_and_what_to_do(patient: Patient) -> None:
    nobody_listens(patient)
    lines = patient.entrepot("doctor", "sick", expect=1).lines
    assert lines[0].split() == ["UPSTREAM", "CHECK", "STATE", "WHAT", "IS", "FOUND"]
    assert any(line.startswith("sick, tcp: check the port") for line in lines)


def test_no_secret_is_shown(patient: Patient) -> None:
    registry = patient.registry()
    registry.require_basic({"me": "right"})
    patient.add(registry.url, "--username", "me", "--password-stdin", input="not-this-one\n")
    for words in ([], ["--json"]):
        done = patient.entrepot("doctor", *words, expect=1)
        assert "not-this-one" not in done.out + done.err


def test_without_upstreams_only_nothing_is_looked_at(entrepot: Program) -> None:
    assert len(entrepot("doctor").lines) == 1
