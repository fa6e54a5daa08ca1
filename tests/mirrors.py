"""A running server that mirrors upstreams, and a client that pulls through it as a user would."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from entrepot.testing import MockRegistry
from tests.http_client import Client, Response
from tests.server import RunningServer

UPSTREAM: Final = "hub.test"
"""What the upstream is called in these tests; where it is, the configuration says."""

MANIFESTS: Final = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


def upstream_table(
    *registries: MockRegistry, name: str = UPSTREAM, settings: Mapping[str, str] | None = None
) -> str:
    """Return the TOML of one upstream with these endpoints; `settings` are TOML values."""
    endpoints = ", ".join(f'"{registry.url}"' for registry in registries)
    lines = [f'[upstreams."{name}"]', f"endpoints = [{endpoints}]", "insecure = true"]
    lines += [f"{key} = {value}" for key, value in (settings or {}).items()]
    return "\n".join(lines) + "\n"


class RunningMirror(RunningServer):
    """An `entrepot serve` with upstreams. `cache` are settings of the section, in TOML."""

    def __init__(
        self,
        folder: Path,
        *registries: MockRegistry,
        workers: int = 1,
        cache: Mapping[str, str] | None = None,
        upstream: Mapping[str, str] | None = None,
        more: str = "",
        settings: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        lines = ["[cache]", *(f"{key} = {value}" for key, value in (cache or {}).items()), ""]
        config = "\n".join(lines) + more
        if registries:
            config += "\n" + upstream_table(*registries, settings=upstream)
        super().__init__(folder, workers=workers, config=config, settings=settings, tls=tls)

    def client(self, timeout: float = 30.0) -> Client:
        """Return a client with a connection of its own."""
        host, _, port = self.host.rpartition(":")
        return Client(host, int(port), timeout=timeout)

    def manifest(
        self, name: str, reference: str, *, method: str = "GET", upstream: str = UPSTREAM
    ) -> Response:
        """Ask for a manifest through the mirror."""
        with self.client() as client:
            path = f"/v2/{upstream}/{name}/manifests/{reference}"
            return client.request(method, path, headers={"Accept": MANIFESTS})

    def blob(
        self,
        name: str,
        digest: object,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        upstream: str = UPSTREAM,
    ) -> Response:
        """Ask for a blob through the mirror."""
        with self.client() as client:
            path = f"/v2/{upstream}/{name}/blobs/{digest}"
            return client.request(method, path, headers=headers or {})

    def pull(self, name: str, reference: str, *, upstream: str = UPSTREAM) -> Response:
        """Pull an image whole, as a client would, and return its manifest."""
        manifest = self.manifest(name, reference, upstream=upstream)
        assert manifest.status == 200, str(manifest)
        document = manifest.json()
        for child in document.get("manifests", ()):
            self.pull(name, child["digest"], upstream=upstream)
        for one in [document.get("config"), *document.get("layers", ())]:
            if one is not None:
                blob = self.blob(name, one["digest"], upstream=upstream)
                assert blob.status == 200, str(blob)
                assert len(blob.body) == one["size"]
        return manifest


def metric(mirror: RunningMirror, name: str, labels: Mapping[str, str]) -> float | None:
    """Return a metric's value, None if there is no such series."""
    with mirror.client() as client:
        text = client.get("/metrics").body.decode()
    series = name + "{" + ",".join(f'{key}="{labels[key]}"' for key in sorted(labels)) + "}"
    found = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(series)]
    return float(found[0]) if found else None
