"""Settings of images: how processes start, what images are labelled with, whom they are for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from entrepot.oci.errors import Unsupported
from entrepot.oci.image_config import (
    ImageConfig,
    with_author,
    with_created,
    with_platform,
    with_section,
)
from entrepot.oci.platform import Platform
from entrepot.services.image_editing import Change, Draft

Texts = Mapping[str, str | None]
"""What is to be set, by name; None removes."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What is to change; None, or an empty mapping, leaves a thing as it is, and an empty text or
    tuple removes it.

    A new `entrypoint` drops the old `cmd`, which was meant for another program. `exposed_ports`
    (`8080/tcp`) and `volumes` (`/data`) map to False to remove one. `created` is RFC 3339, and is
    told of all layers in the history too.
    """

    env: Texts = field(default_factory=dict)
    labels: Texts = field(default_factory=dict)
    annotations: Texts = field(default_factory=dict)
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    workdir: str | None = None
    user: str | None = None
    stop_signal: str | None = None
    exposed_ports: Mapping[str, bool] = field(default_factory=dict)
    volumes: Mapping[str, bool] = field(default_factory=dict)
    author: str | None = None
    created: str | None = None
    platform: Platform | None = None


def mutate(settings: ImageSettings) -> Change:
    """Return the edit that sets these; what it does not know of a config stays."""

    async def change(draft: Draft) -> Draft:
        if settings.annotations and draft.is_docker:
            raise Unsupported(
                "Docker's manifests have no annotations; convert the image with --format oci, or "
                "set labels"
            )
        config = _config(draft.config, settings)
        annotations = _merged(draft.annotations, settings.annotations)
        changed = replace(draft, config=config)
        return changed.with_annotations(annotations) if settings.annotations else changed

    return change


def _config(config: ImageConfig, settings: ImageSettings) -> ImageConfig:
    changes = _section(config.section, settings)
    if changes:
        config = with_section(config, changes)
    if settings.platform is not None:
        config = with_platform(config, settings.platform)
    if settings.author is not None:
        config = with_author(config, settings.author)
    if settings.created is not None:
        config = with_created(config, settings.created)
    return config


def _section(section: Mapping[str, object], settings: ImageSettings) -> dict[str, object]:
    changes: dict[str, object] = {}
    if settings.entrypoint is not None:
        changes |= {"Entrypoint": list(settings.entrypoint), "Cmd": None}
    if settings.cmd is not None:
        changes["Cmd"] = list(settings.cmd)
    if settings.env:
        changes["Env"] = _environment(section.get("Env"), settings.env)
    if settings.labels:
        labels = section.get("Labels")
        changes["Labels"] = _merged(labels if isinstance(labels, dict) else {}, settings.labels)
    for name, wanted in (("ExposedPorts", settings.exposed_ports), ("Volumes", settings.volumes)):
        if wanted:
            present = section.get(name)
            changes[name] = _members(present if isinstance(present, dict) else {}, wanted)
    texts = {
        "WorkingDir": settings.workdir,
        "User": settings.user,
        "StopSignal": settings.stop_signal,
    }
    return changes | {name: text for name, text in texts.items() if text is not None}


def _environment(present: object, wanted: Texts) -> list[str]:
    """Set variables where they stand, new ones at the end."""
    lines = [str(line) for line in present] if isinstance(present, list) else []
    left = dict(wanted)
    result = []
    for line in lines:
        name = line.partition("=")[0]
        if name not in wanted:
            result.append(line)
        elif name in left and (value := left.pop(name)) is not None:
            result.append(f"{name}={value}")
    return result + [f"{name}={value}" for name, value in left.items() if value is not None]


def _merged(present: Mapping[str, str], wanted: Texts) -> dict[str, str]:
    merged = {**present, **wanted}
    return {name: text for name, text in merged.items() if text is not None}


def _members(present: Mapping[str, object], wanted: Mapping[str, bool]) -> dict[str, object]:
    kept = {name: value for name, value in present.items() if wanted.get(name, True)}
    return kept | {name: {} for name, there in wanted.items() if there and name not in kept}
