"""Contradictions: settings that are right one by one but not together."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from entrepot.config.errors import Problem
from entrepot.config.model import Name, Settings
from entrepot.config.registry_names import PRESETS, has_preset
from entrepot.config.table_contradictions import site_problems, upstream_problems

_TOGETHER: Final = (
    ("server", "tls_certificate", "tls_key", "HTTPS needs both"),
    ("access", "username", "password", "the login needs both"),
)


def contradictions(settings: Settings, origins: Mapping[Name, str]) -> list[Problem]:
    """Find all of them, each with the place of what was given last."""
    return [
        *_halves(settings, origins),
        *_names_without_registry(settings, origins),
        *_mixed_storage(settings, origins),
        *upstream_problems(settings.upstreams, origins),
        *site_problems(settings.sites, origins),
    ]


def _halves(settings: Settings, origins: Mapping[Name, str]) -> Iterator[Problem]:
    for section, one, other, hint in _TOGETHER:
        values = {key: getattr(getattr(settings, section), key) for key in (one, other)}
        if bool(values[one]) != bool(values[other]):
            given, missing = (one, other) if values[one] else (other, one)
            what = f"{section}.{given} is set without {section}.{missing}"
            yield Problem(origins[section, given], what, hint)


def _names_without_registry(settings: Settings, origins: Mapping[Name, str]) -> Iterator[Problem]:
    default = settings.proxy.default_registry
    if not default:
        return
    place = origins["proxy", "default_registry"]
    names = {*settings.upstreams}.union(*(one.aliases for one in settings.upstreams.values()))
    if not (default in names or has_preset(default) or settings.proxy.open):
        yield Problem(
            place,
            f"proxy.default_registry is {default}, which is no upstream",
            f'write [upstreams."{default}"], or name one that needs none: {", ".join(PRESETS)}',
        )
    if settings.redirect.upstream:
        yield Problem(
            place,
            "proxy.default_registry and redirect.upstream both say where names without a "
            "registry are",
            "remove one of them",
        )


def _mixed_storage(settings: Settings, origins: Mapping[Name, str]) -> Iterator[Problem]:
    """Find caches that are where hosted content is: what is evicted must not be that."""
    hosted = os.path.abspath(settings.storage.path)
    caches: dict[Name, Path | None] = {("cache", "path"): settings.cache.path}
    for name, upstream in settings.upstreams.items():
        caches["upstreams", name, "cache_path"] = upstream.cache_path
    for setting, path in caches.items():
        if path is not None and f"{hosted}/".startswith(f"{os.path.abspath(path).rstrip('/')}/"):
            yield Problem(
                origins[setting],
                f"{'.'.join(setting)} is where hosted content is kept",
                "name another directory, for instance one inside storage.path",
            )
