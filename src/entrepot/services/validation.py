"""Validation: everything an image consists of is read and compared with what it says of itself."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import Denied, RegistryError, TooManyRequests, Unauthorized, Unavailable
from entrepot.oci.image_config import ImageConfig, parse_config
from entrepot.oci.layer_compression import is_layer
from entrepot.oci.layer_path import read_whiteout, split_name
from entrepot.oci.manifest import Index, Manifest
from entrepot.oci.tar_reader import TarReader
from entrepot.ports.image_end import ImageSource
from entrepot.ports.root_file_system import UnpackLimits
from entrepot.services.image_content import CONFIGS, layer_name, read_small_blob
from entrepot.services.layer_spool import SpooledLayer, read_ahead, spool_layer
from entrepot.services.progress import BlobFinished, ManifestFinished, Report
from entrepot.services.verified_blob import VerifiedBlob
from entrepot.services.verified_manifest import MAX_DEPTH, read_manifest

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a part of an image: an "error" is broken, a "warning" is unusual and
    may trouble some tool."""

    severity: Severity
    subject: Digest
    media_type: str
    problem: str


@dataclass(frozen=True, slots=True)
class ValidationOptions:
    """What is read. `fast` leaves out the layers' bytes; temporary files go to `folder`."""

    fast: bool = False
    folder: Path | None = None
    limits: UnpackLimits | None = None


async def validate(
    source: ImageSource, root: Descriptor, report: Report, options: ValidationOptions | None = None
) -> list[Finding]:
    """Check an image, index or artifact and all below it; return what is wrong, nothing if all
    is well.

    Raise only what says nothing of the image: a source that cannot be reached (Unavailable,
    Unauthorized, Denied), or a full disk.
    """
    check = _Validation(source, report, options or ValidationOptions())
    await check.manifest(root, 0)
    return check.findings


class _Validation:
    def __init__(self, source: ImageSource, report: Report, options: ValidationOptions) -> None:
        self.findings: list[Finding] = []
        self._source = source
        self._report = report
        self._options = options
        self._limits = options.limits or UnpackLimits()
        self._seen: set[Digest] = set()

    async def manifest(self, descriptor: Descriptor, depth: int) -> None:
        """Check a manifest and what it refers to."""
        if descriptor.digest in self._seen:
            return
        self._seen.add(descriptor.digest)
        try:
            manifest = await read_manifest(self._source, descriptor)
        except RegistryError as error:
            self._found(descriptor, error)
            return
        if isinstance(manifest, Index):
            await self._index(descriptor, manifest, depth)
        elif manifest.config.media_type in CONFIGS:
            await self._image(descriptor, manifest)
        else:
            await self._artifact(manifest)
        self._report(ManifestFinished(descriptor))

    async def _index(self, descriptor: Descriptor, index: Index, depth: int) -> None:
        if depth >= MAX_DEPTH:
            self._error(descriptor, f"indexes are nested more than {MAX_DEPTH} levels deep")
            return
        if not index.manifests:
            self._warning(descriptor, "the index lists no images")
        for child in index.manifests:
            if media_types.is_manifest_kind(child.media_type):
                await self.manifest(child, depth + 1)
                await self._platform(child)
            elif not self._options.fast:
                await self._blob(child)

    async def _platform(self, child: Descriptor) -> None:
        """Compare what the index says an image is for with what its config says."""
        told = child.platform
        if told is None or told.os == "unknown" or not media_types.is_manifest(child.media_type):
            return
        try:
            manifest = await read_manifest(self._source, child)
            if not isinstance(manifest, Manifest) or manifest.config.media_type not in CONFIGS:
                return
            config = parse_config(await read_small_blob(self._source, manifest.config))
        except RegistryError:
            return  # told already
        if (config.platform.os, config.platform.architecture) != (told.os, told.architecture):
            self._error(child, f"the index says it is for {told}, its config for {config.platform}")

    async def _image(self, descriptor: Descriptor, manifest: Manifest) -> None:
        self._formats(descriptor, manifest)
        config = None
        try:
            config = parse_config(await read_small_blob(self._source, manifest.config))
        except RegistryError as error:
            self._found(manifest.config, error)
        if config is not None:
            self._config(manifest, config)
        if self._options.fast:
            return
        diff_ids = config.diff_ids if config is not None else ()
        for number, layer in enumerate(manifest.layers):
            diff_id = diff_ids[number] if number < len(diff_ids) else None
            await self._layer(number, layer, diff_id)

    def _formats(self, descriptor: Descriptor, manifest: Manifest) -> None:
        docker = manifest.media_type == media_types.DOCKER_MANIFEST
        for one in (manifest.config, *manifest.layers):
            if one.media_type.startswith("application/vnd.docker.") != docker:
                kind = "Docker" if docker else "OCI"
                self._warning(one, f"its media type does not belong in the {kind} manifest")
        if not manifest.layers:
            self._warning(descriptor, "the image has no layers")

    def _config(self, manifest: Manifest, config: ImageConfig) -> None:
        layers = len(manifest.layers)
        if len(config.diff_ids) != layers:
            self._error(
                manifest.config,
                f"it lists {len(config.diff_ids)} diff IDs for {layers} layers",
            )
        if config.history and config.layers_of_history != layers:
            self._error(
                manifest.config,
                f"its history tells of {config.layers_of_history} layers, there are {layers}",
            )
        if not (config.platform.os and config.platform.architecture):
            self._error(manifest.config, "it does not tell its operating system and architecture")

    async def _layer(self, number: int, layer: Descriptor, diff_id: Digest | None) -> None:
        if not layer.is_distributable:
            self._warning(layer, "it is not to be distributed, and was not read")
            return
        if not is_layer(layer.media_type):
            self._warning(layer, f"{layer.media_type[:120]!r} is no layer of files")
            await self._blob(layer)
            return
        where = layer_name(number + 1, layer)
        try:
            spooled = await spool_layer(
                self._source, layer, self._options.folder, where, self._report
            )
        except RegistryError as error:
            self._found(layer, error)
            return
        try:
            await asyncio.to_thread(self._members, spooled, diff_id)
        except RegistryError as error:
            self._found(layer, error)
        finally:
            spooled.close()
        self._report(BlobFinished(layer, "copied"))

    def _members(self, layer: SpooledLayer, diff_id: Digest | None) -> None:
        limits = self._limits
        content = layer.content(diff_id, ratio=limits.ratio, ratio_from=limits.ratio_from)
        with closing(read_ahead(content)) as chunks:
            for member in TarReader(chunks, layer.where):
                read_whiteout(split_name(member.name, layer.where), layer.where)

    async def _artifact(self, manifest: Manifest) -> None:
        blobs: Sequence[Descriptor] = (manifest.config, *manifest.layers)
        for blob in {one.digest: one for one in blobs}.values():
            if not self._options.fast and blob.is_distributable:
                await self._blob(blob)

    async def _blob(self, descriptor: Descriptor) -> None:
        if descriptor.digest in self._seen:
            return
        self._seen.add(descriptor.digest)
        blob = VerifiedBlob(self._source, descriptor, self._report)
        try:
            async for _ in blob.read():
                pass
        except RegistryError as error:
            self._found(descriptor, error)
        finally:
            await blob.close()
        self._report(BlobFinished(descriptor, "copied"))

    def _found(self, descriptor: Descriptor, error: RegistryError) -> None:
        if isinstance(error, (Unavailable, Unauthorized, Denied, TooManyRequests)):
            raise error
        self._error(descriptor, error.message)

    def _error(self, descriptor: Descriptor, problem: str) -> None:
        self.findings.append(Finding("error", descriptor.digest, descriptor.media_type, problem))

    def _warning(self, descriptor: Descriptor, problem: str) -> None:
        self.findings.append(Finding("warning", descriptor.digest, descriptor.media_type, problem))
