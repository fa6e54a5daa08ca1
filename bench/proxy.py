"""`dev.py bench proxy`: Entrepot, docker-registry and zot cache the same registry over a long line.

The upstream is a docker-registry behind a relay: 50 ms of round trip and 50 MB/s for each of them
and for clients that go direct. Every cold pull is of an image that nobody pulled before; in every
round each measure is taken on one after the other. See docs/benchmarks.md.
"""

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Final

from bench.harness import clients, machine, proxies, pulled_image, pulls, servers
from bench.harness import proxy_measures as measures
from bench.harness.content import Bodies
from bench.harness.exchange import MeasurementFailed
from bench.harness.memory import Gauge, cpu_seconds
from bench.harness.proxy_measures import CLIENTS, DIRECT, HOSTED
from bench.harness.pulled_image import PulledImage
from bench.harness.pulls import FirstBytes, Pull, PullsInTurn
from bench.harness.results import Measure, Results
from bench.harness.servers import Address, NotHere, Program, Server, ServerFailed
from bench.harness.shaped_relay import Count, ShapedRelay
from tools.environment import ROOT

MB: Final = 1_000_000
ROUND_TRIP: Final = 0.05
RATE: Final = 50 * MB
LAYERS, LAYER_SIZE = 10, 8 << 20
WARM_UP_LAYERS: Final = 3
FIRST_COUNT: Final = 15
FIRST_SIZES: Final = {measures.FIRST_LARGE: 1 << 20, measures.FIRST_SMALL: 2 << 10}
WARM_TURNS, WARM_TURNS_OF_MANY = 20, 5
"""In how many turns a round pulls what is warm, by one client and by many."""
PEER_ROUNDS: Final = 2
"""In how many rounds other caches have many cold clients: it may take them most of a minute."""

LIMIT_SECONDS: Final = 290
"""What a whole run takes at most, whatever hangs."""

_BEGUN: Final = time.monotonic()

HOSTED_BY: Final = {servers.OURS: HOSTED, proxies.ONE_WORKER: f"{HOSTED}, 1 worker"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where images are pulled from: `line` is the one behind it, `pid` None for the line itself."""

    name: str
    address: Address
    prefix: str = ""
    line: int = 0
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Images:
    """What one round pulls: images that nobody has pulled before."""

    one: PulledImage
    many: PulledImage
    firsts: dict[Measure, PulledImage]


class Bench:
    """The caches that run, the lines to their upstream, and the numbers so far."""

    def __init__(self, relay: ShapedRelay, started: Sequence[tuple[int, Server]]) -> None:
        self._relay = relay
        self.results = Results(measures.MEASURES, servers.OURS)
        self._caches = [
            Place(
                server.name,
                server.address,
                proxies.TTL if server.name in HOSTED_BY else "",
                line,
                server.pid,
            )
            for line, server in started
        ]
        self._direct = Place(DIRECT, relay.addresses[0])
        self._ours = [place for place in self._caches if place.name in HOSTED_BY]
        self._always = [
            Place(place.name, place.address, proxies.ALWAYS, place.line, place.pid)
            for place in self._ours
        ]
        self._hosted = [Place(HOSTED_BY[place.name], place.address) for place in self._ours]
        self._gauges = {place.name: Gauge(place.pid) for place in self._caches if place.pid}

    def warm_up(self, image: PulledImage) -> None:
        """Compare what everybody gives with what was pushed; leave all with their connections."""
        for place in (self._direct, *self._caches):
            pulls.read_back(place.address, place.prefix, image)
            clients.run([Pull(place.address, place.prefix, image) for _ in range(4)], _nothing)

    def cold(self, images: Images, number: int) -> None:
        """Take what needs caches that have not seen the images, in round `number`."""
        order = [self._direct, *self._caches]
        order = order[::-1] if number % 2 else order
        for measure, image in images.firsts.items():
            self._first_bytes(measure, image, order)
        for place in order:
            self._add(measures.COLD_ONE, place, self._pulled([Pull(*_of(place, images.one))]))
        for place in order:
            if place in self._ours or (place in self._caches and number < PEER_ROUNDS):
                self._cold_many(place, images.many)

    def _first_bytes(self, measure: Measure, image: PulledImage, order: Sequence[Place]) -> None:
        asking = [FirstBytes(*_of(place, image)) for place in order]
        taken: list[list[float]] = [[] for _ in order]
        for digest, size in image.blobs[1:]:  # the config is small, whatever the layers are
            for one, seconds in zip(asking, taken, strict=True):
                seconds.append(one.seconds(digest, size))
        for place, one, seconds in zip(order, asking, taken, strict=True):
            one.close()
            self._add(measure, place, median(seconds) * 1000)

    def _cold_many(self, place: Place, image: PulledImage) -> None:
        before, spent = self._relay.count(place.line), _cpu(place)
        load = clients.run([Pull(*_of(place, image)) for _ in range(CLIENTS)], self._watch(place))
        passed: Count = self._relay.count(place.line).since(before)
        self._add(measures.COLD_MANY, place, load.seconds)
        self._add(measures.SENT, place, passed.received / image.size)
        self._add(measures.ASKED, place, passed.requests)
        self._add(measures.COLD_CPU, place, _cpu(place) - spent)

    def warm(self, image: PulledImage, hosted: PulledImage, *, backwards: bool) -> None:
        """Pull again what is in every cache, and what is hosted."""
        for place in self._always:
            clients.run([Pull(*_of(place, image))], _nothing)  # this name has not held it yet
        pair = (measures.WARM_ONE, measures.WARM_MANY)
        confirmed = (measures.ALWAYS_ONE, measures.ALWAYS_MANY)
        order = [*((place, hosted, pair) for place in self._hosted)]
        order += [
            (place, image, pair if place.name in HOSTED_BY else confirmed) for place in self._caches
        ]
        order += [(place, image, confirmed) for place in self._always]
        self._pull_again(order[::-1] if backwards else order)

    def dead(self, image: PulledImage, hosted: PulledImage, *, backwards: bool) -> None:
        """Pull what is in our caches while nothing can be reached."""
        pair = (measures.DEAD_ONE, measures.DEAD_MANY)
        confirmed = (measures.DEAD_ALWAYS_ONE, measures.DEAD_ALWAYS_MANY)
        order = [*((place, hosted, pair) for place in self._hosted)]
        order += [(place, image, pair) for place in self._ours]
        order += [(place, image, confirmed) for place in self._always]
        self._pull_again(order[::-1] if backwards else order)

    def cut(self, image: PulledImage) -> None:
        """End all that our servers can reach, and let them find out."""
        for place in self._always:
            self._relay.cut(place.line)
            asking = time.monotonic()
            FirstBytes(*_of(place, image)).close()
            self._add(measures.DEAD_FIRST, place, (time.monotonic() - asking) * 1000)
            clients.run([Pull(*_of(place, image)) for _ in range(CLIENTS)], _nothing)

    def weigh(self) -> None:
        """Note the memory of this round."""
        for name, gauge in self._gauges.items():
            peak = gauge.peak()
            self.results.add(measures.MEMORY, name, peak.used / MB)
            self.results.add(measures.MEMORY_RSS, name, peak.rss / MB)
            gauge.reset()

    def _pull_again(
        self, order: Sequence[tuple[Place, PulledImage, tuple[Measure, Measure]]]
    ) -> None:
        # These are short, so they share the machine's moods by taking turns.
        alone = PullsInTurn()
        for place, image, _ in order:
            alone.add(*_of(place, image))
        for (place, _, (one, _)), rate in zip(order, alone.rates(WARM_TURNS), strict=True):
            self._add(one, place, rate / MB)
        alone.close()
        taken: dict[int, list[float]] = defaultdict(list)
        turn = [*enumerate(order)]
        for _ in range(WARM_TURNS_OF_MANY):
            for number, (place, image, _) in turn:
                work = [Pull(*_of(place, image)) for _ in range(CLIENTS)]
                taken[number].append(self._pulled(work, place))
            turn.reverse()
        for number, (place, _, (_, many)) in enumerate(order):
            self._add(many, place, median(taken[number]))

    def _pulled(self, work: Sequence[Pull], place: Place | None = None) -> float:
        watch = self._watch(place) if place else _nothing
        return clients.run(work, watch).rate / MB

    def _watch(self, place: Place) -> clients.Watch:
        gauge = self._gauges.get(place.name)
        return gauge.sample if gauge else _nothing

    def _add(self, measure: Measure, place: Place, value: float) -> None:
        self.results.add(measure, place.name, value)
        _tell(f"{measure.name}: {place.name} {value:.2f} {measure.unit}")


def measure(
    programs: dict[str, Program | NotHere], upstream: Program, folder: Path, rounds: int
) -> Results:
    """Run every cache and every round; `programs` comes to hold what was run, or why not.

    Raise MeasurementFailed, ServerFailed.
    """
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(servers.running(upstream, folder / "upstream"))
        lines = ShapedRelay(
            registry.address, 1 + len(proxies.KNOWN), round_trip=ROUND_TRIP, rate=RATE
        )
        relay = stack.enter_context(lines)
        _tell(f"upstream: {upstream.name} {upstream.version}")
        large, images = _images(folder, rounds)
        hosted = pulled_image.make(large, "bench/hosted", LAYERS)
        first = pulled_image.make(large, "bench/warm-up", WARM_UP_LAYERS)
        pulled_image.push(registry, [first])
        for one in images:
            pulled_image.push(registry, [one.one, one.many, *one.firsts.values()])
        started = []
        for line, name in enumerate(proxies.KNOWN, start=1):
            program = programs[name] = proxies.find(name, relay.addresses[line])
            if isinstance(program, NotHere):
                continue
            _tell(f"{name}: {program.version}; {program.notes}")
            server = stack.enter_context(servers.running(program, folder / f"cache-{line}"))
            if name in HOSTED_BY:
                pulled_image.push(server, [hosted])
            elif isinstance(tried := _tried(server, first), NotHere):
                programs[name] = tried
                continue
            started.append((line, server))
        bench = Bench(relay, started)
        bench.warm_up(first)
        done = _rounds(bench, images, hosted)
        bench.cut(done[-1].one)
        for number in range(len(done)):
            bench.dead(done[-1].one, hosted, backwards=number % 2 == 1)
    return bench.results


def _tried(server: Server, image: PulledImage) -> Server | NotHere:
    """Return another's server if an image can be pulled through it: a build may lack that."""
    try:
        pulls.read_back(server.address, "", image)
    except MeasurementFailed as failure:
        return NotHere(f"it does not pull through: {failure}")
    return server


def _images(folder: Path, rounds: int) -> tuple[Bodies, list[Images]]:
    """Make what all rounds pull."""
    large = Bodies(_made(folder / "large"), LAYER_SIZE)
    small = {
        measure: Bodies(_made(folder / f"first-{size}"), size)
        for measure, size in FIRST_SIZES.items()
    }
    return large, [
        Images(
            pulled_image.make(large, f"bench/one-{number}", LAYERS),
            pulled_image.make(large, f"bench/many-{number}", LAYERS),
            {
                measure: pulled_image.make(bodies, f"bench/first-{number}-{size}", FIRST_COUNT)
                for (measure, bodies), size in zip(small.items(), FIRST_SIZES.values(), strict=True)
            },
        )
        for number in range(rounds)
    ]


def _rounds(bench: Bench, images: Sequence[Images], hosted: PulledImage) -> list[Images]:
    """Measure with living upstreams as long as there is time; return what was pulled."""
    done: list[Images] = []
    longest = 0.0
    for number, round_images in enumerate(images):
        round_begun = time.monotonic()
        # The last part takes less than a round.
        if done and round_begun - _BEGUN + 1.5 * longest > LIMIT_SECONDS:
            _tell(f"no time for more than {number} rounds")
            break
        _tell(f"round {number + 1}/{len(images)}")
        bench.cold(round_images, number)
        bench.warm(round_images.one, hosted, backwards=number % 2 == 1)
        bench.weigh()
        done.append(round_images)
        longest = max(longest, time.monotonic() - round_begun)
    return done


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark as the arguments say; return the exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(LIMIT_SECONDS)
    upstream = servers.find("docker-registry")
    if not isinstance(upstream, Program):
        _tell(f"the upstream: {upstream}")
        return 1
    options.dir.mkdir(parents=True, exist_ok=True)
    facts = machine.facts(options.dir)
    programs: dict[str, Program | NotHere] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as folder:
            rounds = 1 if options.quick else options.rounds
            results = measure(programs, upstream, Path(folder), rounds)
            signal.alarm(0)
    except (MeasurementFailed, ServerFailed) as failure:
        _tell(f"failed: {failure}")
        return 1
    except KeyboardInterrupt:
        return 130
    peers = [name for name in programs if name not in HOSTED_BY]
    print(measures.table(results, [DIRECT, *programs, *HOSTED_BY.values()]), end="\n\n")
    print(measures.goal_table(results, peers, HOSTED_BY), end="\n\n")
    for name, program in programs.items():
        notes = f"{program.version}; {program.notes}" if isinstance(program, Program) else program
        print(f"{name}: {'' if isinstance(program, Program) else 'not run: '}{notes}")
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    lines = measures.missed(results, peers, HOSTED_BY)
    if options.json:
        document = {
            "machine": facts,
            "upstream": f"{upstream.name} {upstream.version}",
            "round_trip_seconds": ROUND_TRIP,
            "bytes_per_second": RATE,
            "servers": {
                name: {"version": program.version, "notes": program.notes}
                if isinstance(program, Program)
                else {"not_run": str(program)}
                for name, program in programs.items()
            },
            "measures": [asdict(one) for one in results.measures],
            "values": results.raw(),
            "missed": lines,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.chart:
        options.chart.write_text(measures.chart(results, peers, servers.OURS, HOSTED))
    print(*(f"missed: {line}" for line in lines), sep="\n")
    return 1 if options.check and lines else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("dev.py bench proxy", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a target is missed")
    parser.add_argument("--quick", action="store_true", help="one round: does it run at all?")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the ratios there, as SVG")
    parser.add_argument(
        "--dir", type=Path, default=ROOT / "build", help="where the servers keep their data"
    )
    return parser


def _of(place: Place, image: PulledImage) -> tuple[Address, str, PulledImage]:
    return place.address, place.prefix, image


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _cpu(place: Place) -> float:
    return cpu_seconds(place.pid) if place.pid else 0.0


def _nothing() -> None:
    """Watch nobody."""


def _too_late(number: int, frame: FrameType | None) -> None:
    raise MeasurementFailed(f"this takes more than {LIMIT_SECONDS} s; try it with fewer --rounds")


def _tell(line: str) -> None:
    print(f"{time.monotonic() - _BEGUN:6.1f} s  {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
