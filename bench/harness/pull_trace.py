"""Traces of image pulls: a generated one, and those that were published.

The generated world: repositories of Zipf-distributed popularity, each on one of some shared bases;
tags come out in the course of time and are pulled the more the newer they are; tags of a repository
share what they depend on. Nodes keep the layers they have and ask for the others, CI runners
begin with nothing, and now and then somebody walks through all tags of a repository.
"""

import bisect
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Request = tuple[str, int]
"""What is asked for, and its size in bytes."""

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class World:
    """How many there are of what; `skew` is Zipf's exponent, `runners` and `sweeps` are parts of
    all pulls. The sizes of layers are log-normal."""

    repositories: int = 400
    bases: int = 25
    tags: int = 25
    skew: float = 0.9
    nodes: int = 60
    images_on_a_node: int = 12
    runners: float = 0.4
    sweeps: float = 0.002
    median_layer: int = 2 * MIB
    spread: float = 1.9
    largest_layer: int = 2048 * MIB


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag: its manifest and config, and its layers from the base up."""

    documents: tuple[Request, ...]
    layers: tuple[Request, ...]


def generated(pulls: int, seed: int, world: World | None = None) -> list[Request]:
    """Return the requests of so many pulls; the same for the same arguments."""
    world = world or World()
    dice = random.Random(seed)
    repositories = _repositories(world, dice)
    popular = _zipf(len(repositories), world.skew)
    nodes: list[dict[Tag, None]] = [{} for _ in range(world.nodes)]
    requests: list[Request] = []
    for number in range(pulls):
        tags = repositories[_drawn(popular, dice)]
        # A tenth of all tags is there from the beginning, the last comes out at the end.
        out = max(1, round(len(tags) * (0.1 + 0.9 * number / pulls)))
        if dice.random() < world.sweeps:
            for tag in tags[:out]:
                requests += tag.documents + tag.layers
            continue
        tag = tags[out - 1 - min(out - 1, int(dice.expovariate(0.5)))]
        node = {} if dice.random() < world.runners else dice.choice(nodes)
        requests += _pull(tag, node, world)
    return requests


def published(files: Sequence[Path]) -> list[Request]:
    """Return the requests in files of the traces of IBM's registry (FAST 2018): JSON lists, an
    object per request. What was pulled counts, not what was pushed or failed."""
    records = itertools.chain.from_iterable(json.loads(file.read_text()) for file in files)
    pulled = [
        (record["timestamp"], record["http.request.uri"], int(record["http.response.written"]))
        for record in records
        if record["http.request.method"] == "GET"
        and int(record["http.response.status"]) == 200
        and any(noun in record["http.request.uri"] for noun in ("/blobs/", "/manifests/"))
    ]
    sizes: dict[str, int] = {}
    for _, address, size in pulled:  # an answer that was broken off counts whole
        sizes[address] = max(size, sizes.get(address, 0))
    return [(address, sizes[address]) for _, address, _ in sorted(pulled)]


def _repositories(world: World, dice: random.Random) -> list[list[Tag]]:
    fresh = _layers(world, dice)

    def some(most: int) -> tuple[Request, ...]:
        return tuple(next(fresh) for _ in range(dice.randint(1, most)))

    bases = [some(4) for _ in range(world.bases)]
    popular = _zipf(len(bases), world.skew)
    repositories = []
    for repository in range(world.repositories):
        base, depends, tags = bases[_drawn(popular, dice)], some(3), []
        for version in range(world.tags):
            if dice.random() < 0.2:
                depends = some(3)
            name = f"{repository}:{version}"
            documents = ((f"manifest {name}", 2_000), (f"config {name}", 6_000))
            tags.append(Tag(documents, base + depends + some(3)))
        repositories.append(tags)
    return repositories


def _layers(world: World, dice: random.Random) -> Iterator[Request]:
    for number in itertools.count():
        size = world.median_layer * dice.lognormvariate(0, world.spread)
        yield f"layer {number}", max(100, min(world.largest_layer, int(size)))


def _pull(tag: Tag, node: dict[Tag, None], world: World) -> tuple[Request, ...]:
    """Return what a node asks for: always the manifest, and what it has not."""
    if tag in node:
        node[tag] = node.pop(tag)
        return tag.documents[:1]
    present = {layer for image in node for layer in image.layers}
    node[tag] = None
    if len(node) > world.images_on_a_node:
        del node[next(iter(node))]
    return tag.documents + tuple(layer for layer in tag.layers if layer not in present)


def _zipf(count: int, skew: float) -> list[float]:
    """Return the cumulated weights of ranks 1 to `count`."""
    return list(itertools.accumulate(1 / rank**skew for rank in range(1, count + 1)))


def _drawn(cumulated: Sequence[float], dice: random.Random) -> int:
    return bisect.bisect(cumulated, dice.random() * cumulated[-1])
