"""Names of upstreams: the host of a registry, or a word that an operator chose."""

import re
from typing import Final

from entrepot.config.errors import Refusal
from entrepot.oci.address import registry_host
from entrepot.oci.errors import RegistryError
from entrepot.oci.reference import looks_like_host

TEMPLATE: Final = "*"
"""The table of upstreams that stands for all that have none of their own."""

PRESETS: Final = (
    "docker.io",
    "quay.io",
    "ghcr.io",
    "gcr.io",
    "registry.k8s.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
    "registry.cloudflare.com",
    "registry.rancher.com",
    "registry.suse.com",
)
"""Public registries that need no table: their name says everything (`rules/upstream_presets`)."""

_PRESET_DOMAINS: Final = (
    "-docker.pkg.dev",
    ".gcr.io",
    ".azurecr.io",
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".workers.dev",
    ".jfrog.io",
)
_PRESETS_WITHOUT_PLACE: Final = (
    *("ecr", "azurecr.io", "acr", "serverless-registry", "workers", "artifactory", "jfrog"),
    "custom",
)
"""Presets by name and word that can stand anywhere: the upstream's name has to be the host."""

_WORD: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)


def upstream_name(text: str) -> str:
    """Return an upstream's one name: Docker Hub has several. Raise Refusal if it is none."""
    if text != text.lower():
        raise Refusal("write it in lower case")
    if _WORD.fullmatch(text):
        return text
    try:
        host = registry_host(text)
    except RegistryError:
        host = None
    if host is None or "/" in text or not _usable_port(text):
        raise Refusal(
            "it is a registry's host such as registry.example.com:5000, or a word of a-z, 0-9 and -"
        )
    return host


def has_preset(name: str) -> bool:
    """Tell whether a registry's habits are known by its name alone."""
    return name in PRESETS or name.endswith(_PRESET_DOMAINS)


def is_nowhere(name: str, preset: str) -> bool:
    """Tell whether neither an upstream's name nor its preset says where it is asked: the name is
    a word, such as `hub`, and no host."""
    if name == TEMPLATE or looks_like_host(name):
        return False
    return preset.lower() in ("", *_PRESETS_WITHOUT_PLACE)


def _usable_port(host: str) -> bool:
    port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else "1"
    return port.isdigit() and 0 < int(port) <= 65535
