"""Two registries that behave as Docker Hub's and Quay's protocols are documented, and a mirror of
both."""

import json
from pathlib import Path
from typing import Any, Final, Self

from entrepot.testing import MockImage, MockRegistry
from entrepot.testing.mock_origin import MockOrigin
from tests.certificates import Certificate
from tests.interop.images import HERE
from tests.interop.layouts import Layers
from tests.interop.servers import stop
from tests.mirrors import RunningMirror, upstream_table

HUB, QUAY = "docker.io", "quay.io"
NAME, TAG = "library/alpine", "3"
PRIVATE = "team/app"
"""A repository with the same image under another name."""
PLATFORMS: Final = (f"linux/{HERE}", "linux/s390x")
DEFAULT_HUB: Final = f'[proxy]\ndefault_registry = "{HUB}"\n'


class Registries:
    """Two registries with images of the same names, `NAME` and `PRIVATE`, and a mirror of both;
    `more` is TOML of the mirror's, which serves a `certificate` if it has one. The end of the
    context stops all three."""

    def __init__(
        self, folder: Path, more: str = "", certificate: Certificate | None = None
    ) -> None:
        self.registries = {HUB: MockRegistry(), QUAY: MockRegistry()}
        self.origins: list[MockOrigin] = []  # their token servers and object stores, too
        self.images: dict[str, MockImage] = {}
        for name, registry in self.registries.items():
            preset = registry.preset(name)
            self.origins += [registry, *filter(None, [preset.storage])]
            if preset.tokens is not None and preset.tokens.origin is not registry:
                self.origins.append(preset.tokens.origin)
            self.images[name] = registry.add_index(NAME, TAG, platforms=PLATFORMS, seed=name)
            registry.add_index(PRIVATE, TAG, platforms=PLATFORMS, seed=name)
        tables = [upstream_table(one, name=name) for name, one in self.registries.items()]
        config = "\n".join([DEFAULT_HUB, *tables, more])
        self.mirror = RunningMirror(
            folder,
            workers=2,
            more=config,
            settings=certificate.settings() if certificate else None,
            tls=certificate.client() if certificate else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        stop(self.mirror)

    def layers(self, name: str) -> Layers:
        """Return the layers that a pull of a registry's image has to bring here."""
        image = self.images[name].children[0]
        config = json.loads(self.registries[name].blob(image.blobs[0].digest))
        return tuple(config["rootfs"]["diff_ids"])

    def requested(self) -> list[str]:
        """Return the paths of images that the registries were asked for."""
        paths = [one.path for registry in self.registries.values() for one in registry.requests]
        return [path for path in paths if path.removeprefix("/v2/")]

    def stop(self) -> None:
        """Stop both registries; the mirror is left alone."""
        for registry in self.registries.values():
            registry.stop()

    def targets(self, method: str = "GET") -> list[str]:
        """Return the paths and queries that the mirror has answered with content so far."""
        answered = [one for one in self._answers() if one["method"] == method]
        return [one["target"] for one in answered if one["status"] < 300]

    def refusals(self) -> list[str]:
        """Return the paths and queries for which a login was missing or wrong so far."""
        return [one["target"] for one in self._answers() if one["status"] == 401]

    def layers_fetched(self, name: str) -> list[int]:
        """Return how often a registry has answered for each layer of its image, with the login that
        it wants."""
        registry, image = self.registries[name], self.images[name].children[0]
        asked = [registry.matching("GET", f"*/blobs/{one.digest}") for one in image.layers]
        return [sum(one.status != 401 for one in requests) for requests in asked]

    def layers_served_twice(self, name: str) -> bool:
        """Say whether each layer of a registry's image went through the mirror twice."""
        digests = [target.partition("?")[0].rpartition("/")[2] for target in self.targets()]
        layers = [str(one.digest) for one in self.images[name].children[0].layers]
        return all(digests.count(layer) == 2 for layer in layers)

    def _answers(self) -> list[dict[str, Any]]:
        lines = [line for line in self.mirror.log().splitlines() if line.endswith("}")]
        return [one for one in map(json.loads, lines) if one["event"] == "request"]
