"""The doctor: what is wrong with an upstream, part by part from the name to the login, and how to
mend it. Every check has a name, so that programs can tell them apart."""

import base64
import binascii
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from entrepot.config.upstreams import UpstreamSettings
from entrepot.oci.errors import (
    CertificateRefused,
    Denied,
    RegistryError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from entrepot.ports.probe import Directory, EndpointProbe
from entrepot.ports.remote_registry import Ping
from entrepot.ports.upstream_endpoint import UpstreamEndpoint

Check = Literal["dns", "tcp", "proxy", "tls", "registry", "login", "clock", "quota", "cache"]
State = Literal["ok", "warning", "failed"]

SKEW: Final = 60.0
"""Seconds by which clocks may differ; tokens and certificates are good for minutes only."""

_SKEW_FAILS: Final = 300.0
_SOON: Final = 14 * 86400.0
_LITTLE: Final = 0.1
_LEAST_FREE: Final = 1 << 30
_DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found: what it means, and how to mend it unless it is `ok`."""

    check: Check
    state: State
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """One endpoint of an upstream: its settings, the way to it, and itself."""

    name: str
    settings: UpstreamSettings
    probe: EndpointProbe
    endpoint: UpstreamEndpoint

    @property
    def table(self) -> str:
        """How its settings are called."""
        return f'[upstreams."{self.name}"]'

    @property
    def has_login(self) -> bool:
        """Whether a login is configured."""
        one = self.settings
        return one.auth != "anonymous" and bool(one.username or one.headers or one.exec)


async def examine(
    patient: Patient, *, now: Callable[[], float] = time.time
) -> AsyncIterator[Finding]:
    """Yield what is found, up to the first part that is broken: nothing behind it can work.

    `now` is the Unix time.
    """
    async for finding in _way(patient, now):
        yield finding
        if finding.state == "failed":
            return
    began = now()
    try:
        answer = await patient.endpoint.ping()
    except RegistryError as error:
        for finding in _unanswered(patient, error, now()):
            yield finding
        return
    yield Finding("registry", "ok", f"{patient.endpoint.url} answers as a registry")
    yield _login(patient, answer, now())
    yield _clock(answer, began, now())
    yield _quota(patient)


async def _way(patient: Patient, now: Callable[[], float]) -> AsyncIterator[Finding]:
    """What lies before the registry itself: names, connections, certificates."""
    probe = patient.probe
    try:
        addresses = await probe.addresses()
    except RegistryError as error:
        yield _no_name(patient, error)
        return
    if not probe.proxy:
        yield Finding("dns", "ok", f"{probe.place} is {', '.join(addresses)}")
    try:
        seconds = await probe.connect()
    except RegistryError as error:
        yield _no_connection(patient, error)
        return
    if probe.proxy:
        yield Finding("proxy", "ok", f"{probe.proxy} takes connections")
        return
    yield Finding("tcp", "ok", f"{probe.place} takes connections ({seconds * 1000:.0f} ms)")
    if probe.secure:
        yield await _tls(patient, now)


def _no_name(patient: Patient, error: RegistryError) -> Finding:
    if patient.probe.proxy:
        remedy = f"check `proxy` of {patient.table}, or https_proxy in the environment"
        return Finding("proxy", "failed", error.message, remedy)
    remedy = (
        "check how the endpoint is spelt and this machine's DNS (/etc/resolv.conf); in a network "
        f"that resolves no outside names set `proxy` of {patient.table}"
    )
    return Finding("dns", "failed", error.message, remedy)


def _no_connection(patient: Patient, error: RegistryError) -> Finding:
    if patient.probe.proxy:
        remedy = (
            f"check that the proxy runs, and `proxy` of {patient.table} or https_proxy in the "
            "environment"
        )
        return Finding("proxy", "failed", error.message, remedy)
    remedy = (
        "check the port and that the registry runs; a firewall may be in between, and if one may "
        f"get out only by a proxy, set `proxy` of {patient.table}"
    )
    return Finding("tcp", "failed", error.message, remedy)


_DISTRUSTED: Final = {
    "expired": (
        "whoever runs the registry must renew its certificate; if it should be good, check this "
        "machine's clock"
    ),
    "early": "check this machine's clock: the certificate is not good yet",
    "name": (
        "the certificate is for another name: write one of its names into `endpoints`, or have it "
        "renewed for this one"
    ),
    "authority": (
        "if you trust who signed it, put that authority's PEM file into `ca_file`; in companies "
        "it is often that of a proxy that reads along"
    ),
    "other": "check that the port speaks TLS, and `ca_file`, `client_certificate` and `client_key`",
}


async def _tls(patient: Patient, now: Callable[[], float]) -> Finding:
    try:
        certificate = await patient.probe.certificate()
    except CertificateRefused as error:
        return _distrusted(patient, error)
    except RegistryError as error:
        return Finding("tls", "failed", error.message, "check that the port speaks TLS")
    left = certificate.ends - now()
    message = f"certificate of {certificate.issuer}, good for {left / _DAY:.0f} more days"
    if left < _SOON:
        remedy = "have it renewed soon; pulls fail on the day it ends"
        return Finding("tls", "warning", message, remedy)
    return Finding("tls", "ok", message)


def _distrusted(patient: Patient, error: CertificateRefused) -> Finding:
    distrust = str(error.detail.get("distrust", ""))
    remedy = _DISTRUSTED.get(distrust, _DISTRUSTED["authority"])
    if patient.settings.insecure and distrust in ("expired", "early", "name", "authority"):
        message = f"{error.message}; it is used all the same, as `insecure` is set"
        return Finding("tls", "warning", message, remedy)
    return Finding("tls", "failed", error.message, f"{remedy} ({patient.table})")


def _unanswered(patient: Patient, error: RegistryError, now: float) -> list[Finding]:
    """What an error in the place of an answer tells."""
    answers = Finding("registry", "ok", f"{patient.endpoint.url} answers")
    proxy = patient.probe.proxy
    match error:
        case CertificateRefused():
            return [_distrusted(patient, error)]
        case Unauthorized() | Denied():
            return [answers, _refused(patient, error, now)]
        case TooManyRequests():
            rest = error.detail.get("retry_after")
            wait = f"wait {rest:.0f} s" if isinstance(rest, int | float) else "wait"
            remedy = f"{wait}, or log in: most registries allow more with a login"
            return [answers, Finding("quota", "failed", error.message, remedy)]
        case Unavailable() if proxy and proxy in error.message:
            remedy = f"check `proxy` of {patient.table}, and that the proxy lets this host through"
            return [Finding("proxy", "failed", error.message, remedy)]
    remedy = (
        "check that the endpoint's URL is a registry's, with the path that stands in front of "
        f"/v2/ if there is one ({patient.table})"
    )
    return [Finding("registry", "failed", error.message, remedy)]


def _login(patient: Patient, answer: Ping, now: float) -> Finding:
    expiry = _expiry(patient.settings.password)
    if expiry is not None and expiry <= now:
        return _expired(patient)
    if patient.has_login:
        if not answer.authorised:
            remedy = f"check `auth`, and the login of {patient.table}"
            return Finding("login", "failed", "the login is not accepted", remedy)
        if not answer.authentication and not patient.settings.headers:
            return Finding("login", "ok", "a login is configured, but nobody asks for one")
        return Finding("login", "ok", "the login is accepted")
    if answer.authorised:
        how = (
            "tokens are given to everybody" if answer.authentication else "nobody asks for a login"
        )
        return Finding("login", "ok", f"anonymous: {how}")
    if answer.authentication == "basic":
        remedy = f"set `username` and `password` of {patient.table}"
        return Finding("login", "failed", "a login is wanted, and none is configured", remedy)
    remedy = f"for private images set `username` and `password` of {patient.table}"
    return Finding("login", "warning", "anonymous: public images only, if there are any", remedy)


def _refused(patient: Patient, error: RegistryError, now: float) -> Finding:
    expiry = _expiry(patient.settings.password)
    if "expired" in error.message.lower() or (expiry is not None and expiry <= now):
        return _expired(patient, error.message)
    if not patient.has_login:
        remedy = f"set `username` and `password` of {patient.table}"
        return Finding("login", "failed", error.message, remedy)
    remedy = f"check `username` and `password` of {patient.table}; a token may have been revoked"
    return Finding("login", "failed", error.message, remedy)


def _expired(patient: Patient, words: str = "") -> Finding:
    remedy = (
        f"make a new token for `password` of {patient.table}; if such tokens are short-lived, let "
        "a program print them (`exec`)"
    )
    return Finding("login", "failed", words or "the token of the login has expired", remedy)


def _expiry(password: str) -> float | None:
    """Return when a password that is a signed token (JWT) ends, in Unix seconds."""
    parts = password.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    ends = claims.get("exp") if isinstance(claims, dict) else None
    return float(ends) if isinstance(ends, int | float) else None


def _clock(answer: Ping, began: float, ended: float) -> Finding:
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return Finding("clock", "ok", "the registry does not tell its time")
    # Its time has whole seconds, and is from somewhere between question and answer.
    skew = max(began - theirs - 1, theirs - ended, 0.0)
    if skew <= SKEW:
        return Finding("clock", "ok", "this machine's clock agrees with the registry's")
    direction = "ahead of" if began > theirs else "behind"
    message = f"this machine's clock is {skew:.0f} s {direction} the registry's"
    remedy = "set the clock, e.g. with chrony or systemd-timesyncd; tokens are good for minutes"
    return Finding("clock", "failed" if skew > _SKEW_FAILS else "warning", message, remedy)


def _quota(patient: Patient) -> Finding:
    budget = patient.endpoint.rate_limit
    if budget is None or budget.remaining is None:
        return Finding("quota", "ok", "the registry tells no limit of requests")
    window = f" in {budget.window} s" if budget.window else ""
    message = f"{budget.remaining} of {budget.limit or '?'} requests{window} are left"
    remedy = f"log in for more (`username`, `password` of {patient.table}), or wait"
    if budget.remaining == 0:
        return Finding("quota", "failed", message, remedy)
    if budget.limit and budget.remaining < budget.limit * _LITTLE:
        return Finding("quota", "warning", message, remedy)
    return Finding("quota", "ok", message)


def examine_cache(
    directory: Directory, *, used: int | None = None, quota: int | None = None
) -> Finding:
    """Return what is found of a cache directory; `used` and `quota` are bytes, None if there is
    no cache yet or no limit."""
    path, free = directory.path, directory.free
    room = f"{free >> 20} MiB are free"
    if not directory.writable:
        remedy = "let the server's user write there, or set `cache.path` to another directory"
        return Finding("cache", "failed", f"{path} cannot be written to", remedy)
    left = None if quota is None else max(0, quota - (used or 0))
    if free < _LEAST_FREE and (left is None or left > free):
        remedy = "free space, or set `cache.max_size` to less than the disk has"
        state: State = "failed" if free < _LEAST_FREE // 16 else "warning"
        return Finding("cache", state, f"{path}: only {room}", remedy)
    if left is not None and left > free:
        message = f"{path}: {room}, but {left >> 20} MiB may still be cached"
        return Finding("cache", "warning", message, "set `cache.max_size` to what the disk has")
    if directory.exists:
        return Finding("cache", "ok", f"{path}: {room}")
    return Finding("cache", "ok", f"{path} will be made: {room}")
