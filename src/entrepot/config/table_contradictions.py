"""Contradictions in tables: keys of an upstream or a site that are right only one by one.

Every rule yields the key that is at fault, what is wrong, and a way out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Final

from entrepot.config.endpoints import parse_endpoint
from entrepot.config.errors import Problem
from entrepot.config.model import Name
from entrepot.config.registry_names import PRESETS, TEMPLATE, is_nowhere
from entrepot.config.upstreams import SiteSettings, UpstreamSettings
from entrepot.config.urls import is_loopback, url_host

_Fault = tuple[str, str, str]
"""A key, what is wrong with it (after the table's name), and a way out."""

_CACHE_KEYS: Final = ("cache_path", "max_size", "freshness", "tag_ttl", "conflict")
_OF_ONE_REGISTRY: Final = ("endpoints", "discovery", "aliases", "hosts")
_LOGIN: Final = ("username", "password", "headers", "exec", "client_certificate", "client_key")


def upstream_problems(
    upstreams: Mapping[str, UpstreamSettings], origins: Mapping[Name, str]
) -> list[Problem]:
    """Find what contradicts itself in each upstream, and names that two of them have."""
    problems = [
        _problem("upstreams", name, fault, origins)
        for name, upstream in upstreams.items()
        for rule in _UPSTREAM_RULES
        for fault in rule(upstream)
    ]
    if TEMPLATE in upstreams:
        faults = _template_faults(upstreams[TEMPLATE])
        problems += [_problem("upstreams", TEMPLATE, fault, origins) for fault in faults]
    for key in ("aliases", "hosts"):
        problems += _shared_names(upstreams, key, origins)
    return problems


def nowhere_problems(
    upstreams: Mapping[str, UpstreamSettings], origins: Mapping[Name, str]
) -> list[Problem]:
    """Find upstreams of which nothing says where they are. To be asked where nothing else is
    wrong: a key that is mistyped may have said it."""
    return [
        _problem("upstreams", name, _nowhere(name), origins)
        for name, one in upstreams.items()
        if is_nowhere(name, one.preset) and not (one.endpoints or one.discovery)
    ]


def site_problems(sites: Mapping[str, SiteSettings], origins: Mapping[Name, str]) -> list[Problem]:
    """Find sites that lead nowhere, and networks that lead to two."""
    problems = []
    taken: dict[str, str] = {}
    for name, site in sites.items():
        faults: list[_Fault] = []
        if not ("{digest}" in site.url or "{hex}" in site.url):
            what = "is missing" if not site.url else "names no blob"
            faults.append(("url", what, "write a URL with {digest} or {hex} in it"))
        if not site.networks:
            faults.append(("networks", "is empty", "write the networks of the clients it is for"))
        for network in site.networks:
            if network in taken:
                what = f"has {network}, which {taken[network]} has, too"
                faults.append(("networks", what, "give each network to one site"))
            taken.setdefault(network, name)
        problems += [_problem("sites", name, fault, origins) for fault in faults]
    return problems


def _login(upstream: UpstreamSettings) -> Iterator[_Fault]:
    if upstream.username and not upstream.password:
        yield "username", "is set without password", "set both, or neither"
    if upstream.password and not upstream.username:
        hint = "a token goes with a name, too, such as oauth2accesstoken or any word"
        yield "password", "is set without username", hint
    if not upstream.username and upstream.auth == "basic":
        yield "auth", 'is "basic" without username', 'set username and password, or auth = "auto"'
    if upstream.username and upstream.auth not in ("auto", "basic"):
        hint = 'set auth = "auto", or remove username and password'
        yield "username", f'is not used with auth = "{upstream.auth}"', hint


def _other_logins(upstream: UpstreamSettings) -> Iterator[_Fault]:
    if upstream.auth == "header" and not upstream.headers:
        yield "auth", 'is "header" without headers', 'set headers = ["Authorization: …"]'
    if upstream.auth == "exec" and not upstream.exec:
        yield "auth", 'is "exec" without exec', 'set exec = ["PROGRAM", "get"]'
    if upstream.exec and upstream.auth != "exec":
        yield "exec", f'is not used with auth = "{upstream.auth}"', 'set auth = "exec"'
    if upstream.client_key and not upstream.client_certificate:
        yield "client_key", "is set without client_certificate", "set both"


def _redirect(upstream: UpstreamSettings) -> Iterator[_Fault]:
    if upstream.mode != "redirect":
        return
    for key in _CACHE_KEYS:
        if _is_given(upstream, key):
            hint = f'nothing is cached; remove {key}, or set mode = "mirror"'
            yield key, 'is not used with mode = "redirect"', hint


def _plain_http(upstream: UpstreamSettings) -> Iterator[_Fault]:
    if upstream.insecure:
        return
    for line in upstream.endpoints:
        url = parse_endpoint(line).url
        if url.startswith("http://") and not is_loopback(url_host(url)):
            yield "endpoints", f"has {url}, which is not encrypted", "use https, or set insecure"
    if upstream.discovery.startswith(("dns+http:", "srv+http:")):
        yield "discovery", "finds what is not encrypted", "use https, or set insecure"


_UPSTREAM_RULES: Final[tuple[Callable[[UpstreamSettings], Iterator[_Fault]], ...]] = (
    _login,
    _other_logins,
    _redirect,
    _plain_http,
)


def _nowhere(name: str) -> _Fault:
    near = [one for one in PRESETS if name in one] or PRESETS[:3]
    return (
        "endpoints",
        f"is missing: {name} is a word and no registry's host",
        f'set endpoints = ["https://HOST"], or name the registry by its host, e.g. '
        f"{' or '.join(near)}",
    )


def _template_faults(template: UpstreamSettings) -> Iterator[_Fault]:
    """What stands for every registry cannot say where one is, nor tell all of them a secret."""
    for key in _OF_ONE_REGISTRY:
        if _is_given(template, key):
            yield key, "is of one registry, and * stands for many", "give it a table of its own"
    for key in _LOGIN:
        if _is_given(template, key):
            hint = "give the registry that it is for a table of its own"
            yield key, "would be shown to any registry that a client names", hint


def _shared_names(
    upstreams: Mapping[str, UpstreamSettings], key: str, origins: Mapping[Name, str]
) -> Iterator[Problem]:
    """Find an alias that is another upstream's name or alias, and a host of two upstreams."""
    taken = {name: name for name in upstreams} if key == "aliases" else {}
    for name, upstream in upstreams.items():
        for one in getattr(upstream, key):
            if taken.setdefault(one, name) != name:
                fault = (key, f"has {one}, which is {taken[one]}'s", "give it to one of them")
                yield _problem("upstreams", name, fault, origins)


def _is_given(upstream: UpstreamSettings, key: str) -> bool:
    return bool(getattr(upstream, key) != _DEFAULTS[key])


_DEFAULTS: Final = {one.name: one.default for one in fields(UpstreamSettings)}


def _problem(table: str, name: str, fault: _Fault, origins: Mapping[Name, str]) -> Problem:
    key, what, hint = fault
    place = origins.get((table, name, key)) or origins.get((table, name), "")
    return Problem(place, f"{table}.{name}.{key} {what}", hint)
