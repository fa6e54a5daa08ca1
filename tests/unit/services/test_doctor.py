"""The doctor names what is wrong: UX-07, in part."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path

import pytest

from entrepot.config.upstreams import UpstreamSettings
from entrepot.oci import errors
from entrepot.oci.errors import RegistryError
from entrepot.ports.probe import Certificate, Directory
from entrepot.ports.remote_registry import Ping, RateLimit
from entrepot.services.doctor import Finding, Patient, examine, examine_cache
from tests.unit.services.scripted_endpoints import Scene

NOW = 1_800_000_000.0
DAY = 86400.0
GOOD = Certificate(("r.test",), "An Authority", NOW + 90 * DAY)
MIB = 1 << 20


@dataclass
class Way:
    """The way to an endpoint; what is an error is raised."""

    name: object = ("192.0.2.7",)
    connection: object = 0.012
    tls: object = GOOD
    secure: bool = True
    place: str = "r.test:443"
    proxy: str = ""
    looked_at: list[str] = field(default_factory=list)

    async def addresses(self) -> Sequence[str]:
        return self._give("name", self.name)  # type: ignore[return-value]

    async def connect(self) -> float:
        return self._give("connection", self.connection)  # type: ignore[return-value]

    async def certificate(self) -> Certificate:
        return self._give("tls", self.tls)  # type: ignore[return-value]

    def _give(self, what: str, answer: object) -> object:
        self.looked_at.append(what)
        if isinstance(answer, RegistryError):
            raise answer
        return answer


def pinged(authentication: str = "", *, authorised: bool = True, date: float | None = NOW) -> Ping:
    headers = {} if date is None else {"date": formatdate(date, usegmt=True)}
    return Ping("https://r.test", "1.1", authentication, authorised, headers)


async def findings(
    way: Way | None = None,
    answer: Ping | RegistryError | None = None,
    settings: UpstreamSettings | None = None,
    budget: RateLimit | None = None,
) -> list[Finding]:
    endpoint = Scene().endpoint("r")
    endpoint.rate_limit = budget
    given = answer or pinged()

    async def ping() -> Ping:
        if isinstance(given, RegistryError):
            raise given
        return given

    endpoint.ping = ping  # type: ignore[method-assign]
    patient = Patient("r.test", settings or UpstreamSettings(), way or Way(), endpoint)
    return [one async for one in examine(patient, now=lambda: NOW)]


def jwt(ends: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": ends}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2ln"


async def test_who_is_well_has_every_check_ok() -> None:
    found = await findings()
    checks = ["dns", "tcp", "tls", "registry", "login", "clock", "quota"]
    assert [one.check for one in found] == checks
    assert {one.state for one in found} == {"ok"}
    assert {one.remedy for one in found} == {""}


def distrusted(why: str) -> errors.CertificateRefused:
    return errors.CertificateRefused("the certificate is not accepted", detail={"distrust": why})


LOGIN = UpstreamSettings(username="me", password="secret-word")

FAULTS = {
    "no such name": (Way(name=errors.HostUnknown("r.test cannot be resolved")), None, None),
    "nobody listens": (Way(connection=errors.ConnectionLost("cannot be reached")), None, None),
    "certificate expired": (Way(tls=distrusted("expired")), None, None),
    "certificate of another name": (Way(tls=distrusted("name")), None, None),
    "unknown authority": (Way(tls=distrusted("authority")), None, None),
    "proxy away": (
        Way(proxy="http://proxy.test:3128", connection=errors.ConnectionLost("cannot be reached")),
        None,
        None,
    ),
    "proxy refuses": (
        Way(proxy="http://proxy.test:3128"),
        errors.Unavailable("the proxy http://proxy.test:3128 does not accept our credentials"),
        None,
    ),
    "no registry": (Way(), errors.Unavailable("r.test is no registry"), None),
    "login refused": (Way(), errors.Unauthorized("wrong password"), LOGIN),
    "login expired": (Way(), errors.Unauthorized("the token has expired"), LOGIN),
    "login wanted": (Way(), pinged("basic", authorised=False), None),
    "clock an hour off": (Way(), pinged(date=NOW - 3600), None),
    "too many requests": (
        Way(),
        errors.TooManyRequests("slow down", detail={"retry_after": 30.0}),
        None,
    ),
}
NAMED = {
    "no such name": ("dns", "DNS"),
    "nobody listens": ("tcp", "firewall"),
    "certificate expired": ("tls", "renew"),
    "certificate of another name": ("tls", "another name"),
    "unknown authority": ("tls", "ca_file"),
    "proxy away": ("proxy", "the proxy runs"),
    "proxy refuses": ("proxy", "proxy"),
    "no registry": ("registry", "/v2/"),
    "login refused": ("login", "password"),
    "login expired": ("login", "new token"),
    "login wanted": ("login", "username"),
    "clock an hour off": ("clock", "chrony"),
    "too many requests": ("quota", "wait 30 s"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_fault_is_named_with_its_remedy(fault: str) -> None:
    """UX-07: in every broken set-up exactly the seeded fault has failed."""
    way, answer, settings = FAULTS[fault]
    check, remedy = NAMED[fault]
    failed = [one for one in await findings(way, answer, settings) if one.state == "failed"]
    assert [one.check for one in failed] == [check]
    assert remedy in failed[0].remedy


async def test_nothing_behind_what_is_broken_is_looked_at() -> None:
    way = Way(name=errors.HostUnknown("no such name"))
    assert len(await findings(way)) == 1
    assert way.looked_at == ["name"]


async def test_behind_a_proxy_only_the_proxy_is_resolved_and_connected_to() -> None:
    way = Way(proxy="http://proxy.test:3128", place="proxy.test:3128")
    found = await findings(way)
    assert [one.check for one in found] == ["proxy", "registry", "login", "clock", "quota"]
    assert way.looked_at == ["name", "connection"]


async def test_plain_http_has_no_certificate() -> None:
    assert "tls" not in [one.check for one in await findings(Way(secure=False))]


async def test_a_certificate_that_ends_soon_is_a_warning() -> None:
    soon = Certificate(("r.test",), "An Authority", NOW + 3 * DAY)
    (tls,) = [one for one in await findings(Way(tls=soon)) if one.check == "tls"]
    assert tls.state == "warning"
    assert "3 more days" in tls.message


async def test_insecure_makes_a_bad_certificate_a_warning() -> None:
    found = await findings(
        Way(tls=distrusted("authority")), settings=UpstreamSettings(insecure=True)
    )
    assert {one.check: one.state for one in found}["tls"] == "warning"
    assert found[-1].check == "quota"


@pytest.mark.parametrize(
    ("settings", "answer", "state", "words"),
    [
        (UpstreamSettings(), pinged(), "ok", "nobody asks"),
        (UpstreamSettings(), pinged("bearer"), "ok", "tokens are given to everybody"),
        (UpstreamSettings(), pinged("bearer", authorised=False), "warning", "public images only"),
        (LOGIN, pinged("bearer"), "ok", "the login is accepted"),
        (LOGIN, pinged(), "ok", "nobody asks"),
        (LOGIN, pinged("basic", authorised=False), "failed", "not accepted"),
        (replace(LOGIN, password=jwt(NOW - 60)), pinged("basic"), "failed", "expired"),
        (replace(LOGIN, password=jwt(NOW + 60)), pinged("basic"), "ok", "accepted"),
    ],
    ids=[
        "open", "anonymous tokens", "no token", "accepted", "login unasked", "not authorised",
        "expired token", "good token",
    ],
)  # fmt: skip
async def test_logins(settings: UpstreamSettings, answer: Ping, state: str, words: str) -> None:
    (login,) = [one for one in await findings(None, answer, settings) if one.check == "login"]
    assert login.state == state
    assert words in login.message


@pytest.mark.parametrize(
    ("theirs", "state"),
    [
        (NOW, "ok"),
        (NOW - 60, "ok"),
        (NOW + 60, "ok"),
        (NOW - 90, "warning"),
        (NOW + 90, "warning"),
        (NOW + 600, "failed"),
        (None, "ok"),
    ],
    ids=["same", "minute behind", "minute ahead", "90 s", "90 s ahead", "10 min", "not told"],
)
async def test_clocks(theirs: float | None, state: str) -> None:
    found = await findings(None, pinged(date=theirs))
    assert [one.state for one in found if one.check == "clock"] == [state]


@pytest.mark.parametrize(
    ("remaining", "state"), [(90, "ok"), (9, "warning"), (0, "failed"), (None, "ok")]
)
async def test_quotas(remaining: int | None, state: str) -> None:
    found = await findings(budget=RateLimit(100, remaining, 21600))
    assert [one.state for one in found if one.check == "quota"] == [state]


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_secret_is_in_any_finding(fault: str) -> None:
    way, answer, settings = FAULTS[fault]
    found = await findings(way, answer, settings)
    assert not any("secret-word" in f"{one.message}{one.remedy}" for one in found)


@pytest.mark.parametrize(
    ("directory", "used", "quota", "state"),
    [
        (Directory(Path("c"), True, True, 5000 * MIB), 0, None, "ok"),
        (Directory(Path("c"), False, True, 5000 * MIB), None, None, "ok"),
        (Directory(Path("c"), True, False, 5000 * MIB), 0, None, "failed"),
        (Directory(Path("c"), True, True, 500 * MIB), 0, None, "warning"),
        (Directory(Path("c"), True, True, 5 * MIB), 0, None, "failed"),
        (Directory(Path("c"), True, True, 5 * MIB), 90 * MIB, 91 * MIB, "ok"),
        (Directory(Path("c"), True, True, 5000 * MIB), 10 * MIB, 9000 * MIB, "warning"),
    ],
    ids=["well", "new", "read-only", "little", "full", "all of its quota", "quota beyond the disk"],
)
def test_cache_directories(
    directory: Directory, used: int | None, quota: int | None, state: str
) -> None:
    found = examine_cache(directory, used=used, quota=quota)
    assert (found.check, found.state) == ("cache", state)
    assert bool(found.remedy) == (state != "ok")
