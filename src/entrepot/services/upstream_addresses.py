"""Addresses of an upstream: its settings completed by what its preset knows."""

from collections.abc import Sequence
from dataclasses import replace

from entrepot.config.endpoints import EndpointSettings, parse_endpoint
from entrepot.config.upstreams import UpstreamSettings
from entrepot.oci.errors import NameInvalid
from entrepot.rules.upstream_presets import preset_for


def completed(name: str, settings: UpstreamSettings) -> UpstreamSettings:
    """Return the settings with the preset's endpoints, unless there are others or they are
    discovered, and with its token servers. Raise NameInvalid for a preset that does not exist."""
    preset = preset_for(name, settings.preset)
    own = settings.endpoints or bool(settings.discovery)
    return replace(
        settings,
        endpoints=settings.endpoints if own else preset.endpoints,
        allowed_realms=tuple(dict.fromkeys((*settings.allowed_realms, *preset.allowed_realms))),
    )


def endpoints_of(name: str, settings: UpstreamSettings) -> Sequence[EndpointSettings]:
    """Return where an upstream is asked; nothing where that is discovered. Raise NameInvalid if
    nobody knows."""
    full = completed(name, settings)
    if not full.endpoints and not full.discovery:
        raise NameInvalid(
            f"nobody knows where {name} is: it is no host; set `endpoints` (entrepot upstream add "
            "--url), or a preset that has one",
            detail={"upstream": name},
        )
    return [parse_endpoint(line) for line in full.endpoints]
