"""The upstreams as they are configured: which there are, where each stands, and where its cache
is. What the commands about them start from."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from entrepot.config import FILE_VARIABLE, Settings, UpstreamSettings, resolve
from entrepot.config.runtime_upstreams import (
    merged_upstreams,
    read_runtime_upstreams,
    runtime_upstreams_path,
)
from entrepot.oci.errors import NameUnknown

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help=f"The server's TOML or YAML file, else what {FILE_VARIABLE} names.",
        show_default=False,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="The server's data directory.", show_default="entrepot-data"
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON instead, one object per line.")
]


def _names(metavar: str, help: str) -> Any:
    return typer.Argument(metavar=metavar, help=help, show_default=False)


UpstreamsArgument = Annotated[
    list[str] | None, _names("[UPSTREAM]...", "Upstreams to look at; all if none is named.")
]
AskedArgument = Annotated[
    list[str] | None,
    _names(
        "[UPSTREAM|IMAGE]...",
        "Upstreams, or images of upstreams; all upstreams if none is named.",
    ),
]

NONE: Final = "there are no upstreams; add one by `entrepot upstream add docker.io`"
"""What is said where there is nothing to look at."""


@dataclass(frozen=True, slots=True)
class Configured:
    """The settings, the upstreams in force by name, those of them that were added at run time,
    and where each stands."""

    settings: Settings
    upstreams: Mapping[str, UpstreamSettings]
    added: Mapping[str, UpstreamSettings]
    places: Mapping[str, str]

    @property
    def file(self) -> Path:
        """Where upstreams are added at run time."""
        return runtime_upstreams_path(self.settings)

    def cache(self, upstream: UpstreamSettings) -> Path:
        """Return the directory of an upstream's cache."""
        return self.settings.cache_path(upstream)

    def find(self, word: str) -> str:
        """Return the upstream that a name or an alias means. Raise NameUnknown."""
        found = self.named(word)
        if found is None:
            there = ", ".join(self.upstreams) or "none"
            raise NameUnknown(
                f"{word} is no upstream of this server (there are: {there}); add it by "
                f"`entrepot upstream add {word}`"
            )
        return found

    def named(self, word: str) -> str | None:
        """Return the upstream that a name or an alias means, if any does."""
        from entrepot.rules.upstream_presets import canonical_host

        for name, one in self.upstreams.items():
            if word in (name, *one.aliases) or canonical_host(word) == name:
                return name
        return None

    def chosen(self, words: Sequence[str]) -> Sequence[str]:
        """Return the upstreams that are named, each once; all if none is."""
        return list(dict.fromkeys(map(self.find, words))) if words else list(self.upstreams)


def configured(config: Path | None, data: Path | None) -> Configured:
    """Read what is configured, in files and at run time. Raise ConfigError."""
    resolved = resolve(config, os.environ, {"storage.path": data})
    settings = resolved.settings
    file = runtime_upstreams_path(settings)
    added = read_runtime_upstreams(file)
    upstreams = merged_upstreams(settings, added)
    places = {}
    for name in upstreams:
        if name in added:
            places[name] = str(file)
        else:
            places[name] = resolved.origins.get(("upstreams", name), "proxy.default_registry")
    return Configured(settings, upstreams, added, places)
