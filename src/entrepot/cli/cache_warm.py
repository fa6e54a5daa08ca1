"""What `entrepot cache warm` does: images brought into the cache one after the other."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from entrepot.cli import failures, progress
from entrepot.cli.cache_places import candidates, warn_of_owner
from entrepot.cli.output import human_size
from entrepot.cli.upstream_places import Configured
from entrepot.client import Client
from entrepot.oci.errors import RegistryError
from entrepot.oci.platform import Platform

if TYPE_CHECKING:
    from entrepot.rules.mirrored_images import MirroredImage
    from entrepot.services.warming import Warmed


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options of the command say."""

    words: tuple[str, ...]
    platforms: tuple[Platform, ...]
    referrers: bool
    pin: bool
    jobs: int
    quiet: bool
    as_json: bool


def read_list(place: str) -> list[str]:
    """Return the images that a file (`-`: standard input) lists, one per line; `#` begins a
    comment. Raise OSError."""
    text = sys.stdin.read() if place == "-" else Path(place).read_text(encoding="utf-8")
    return [word for line in text.splitlines() if (word := line.partition("#")[0].strip())]


async def warm(client: Client, known: Configured, wanted: Wanted) -> int:
    """Bring every image, also when one cannot be had; return the exit code."""
    from entrepot.rules.mirrored_images import mirrored_image
    from entrepot.services.warming import Warming, WarmOptions

    for path in candidates(known):
        warn_of_owner(path)
    proxy = (await client.proxy(known.settings)).proxy
    options = WarmOptions(wanted.platforms, wanted.referrers, wanted.pin, wanted.jobs)
    failed: list[RegistryError] = []
    for word in wanted.words:
        try:
            image = mirrored_image(proxy.table, word)
            with progress.shown(wanted.quiet) as report:
                warming = Warming(proxy.mirror)
                done = await warming.warm(image.source, image.reference, options, report)
        except RegistryError as error:
            failures.complain(f"{word}: {error.message}")
            failed.append(error)
        else:
            _print(image, done, wanted)
    return failures.exit_code(ExceptionGroup("not warmed", failed)) if failed else 0


def _print(image: "MirroredImage", done: "Warmed", wanted: Wanted) -> None:
    if wanted.as_json:
        row = {
            "image": str(image),
            "repository": image.source.repository,
            "digest": str(done.root.digest),
            "media_type": done.root.media_type,
            "manifests": done.manifests,
            "fetched": done.fetched,
            "fetched_bytes": done.fetched_bytes,
            "present": done.present,
            "total_bytes": done.total_bytes,
            "pinned": wanted.pin,
        }
        print(json.dumps(row, ensure_ascii=False), flush=True)
        return
    if not wanted.quiet:
        counts = (
            (done.fetched, f"fetched ({human_size(done.fetched_bytes)})"),
            (done.present, "already there"),
        )
        parts = [f"{count} {how}" for count, how in counts if count]
        print(f"{image}: blobs: {', '.join(parts) or 'none'}; manifests: {done.manifests}")
    print(done.root.digest, flush=True)


def all_words(words: Sequence[str] | None, file: str | None) -> tuple[str, ...]:
    """Return the images of the command line and of the file, each once."""
    listed = read_list(file) if file is not None else []
    return tuple(dict.fromkeys([*(words or ()), *listed]))
