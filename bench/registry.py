"""`dev.py bench registry`: Entrepot, docker-registry and zot serve and take the same image.

All of them run at the same time on the same machine. In every round each measure is taken on
one server after the other, so that whatever slows the machine for a while slows all of them.
See docs/benchmarks.md for what is measured and how fair it is.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.harness import clients, machine, report, seed, servers, wrk
from bench.harness.clients import Client, Download, Heads, Push, Watch
from bench.harness.content import MANIFEST_TYPE, Bodies, Image, digest_of
from bench.harness.exchange import MeasurementFailed
from bench.harness.memory import Gauge
from bench.harness.results import Measure, Results
from bench.harness.servers import Program, Server, ServerFailed
from tools.environment import ROOT

MB: Final = 1_000_000
LARGE: Final = 100 * 1024 * 1024
CONNECTIONS: Final = 64
REPOSITORY: Final = "bench/image"
PUSHED: Final = "bench/pushed"
TAG: Final = "latest"
PEER: Final = "docker-registry"
"""The peer that the targets are about."""

DOWNLOADS_ALONE, DOWNLOADS_OF_8, PUSHES_ALONE = 16, 3, 3

MEMORY: Final = Measure("memory under load", "MB", "less", target=1)
MEMORY_RSS: Final = Measure("same as RSS, summed", "MB", "less")


@dataclass(frozen=True, slots=True)
class Step:
    """One measure and how it is taken on a server; `writes` says that it fills the disk."""

    measure: Measure
    take: Callable[[Server, Watch], float]
    writes: bool = False


def steps(image: Image, bodies: Bodies, seconds: int) -> list[Step]:
    """Return what is measured, small requests for some seconds each."""
    manifests, blobs = f"/v2/{REPOSITORY}/manifests/", f"/v2/{REPOSITORY}/blobs/"
    by_tag, by_digest = manifests + TAG, manifests + digest_of(image.manifest)
    small, large = blobs + digest_of(image.layers[0]), blobs + image.large.digest

    def get(target: str) -> Callable[[Server, Watch], float]:
        return lambda server, watch: wrk.run(
            f"http://{server.address[0]}:{server.address[1]}{target}",
            MANIFEST_TYPE,
            CONNECTIONS,
            seconds,
            watch,
        )

    def head(target: str) -> Callable[[Server, Watch], float]:
        accept = {"Accept": MANIFEST_TYPE}
        return lambda server, watch: (
            clients.run([Heads(server.address, target, accept, CONNECTIONS, seconds)], watch).rate
        )

    def download(count: int, times: int) -> Callable[[Server, Watch], float]:
        return lambda server, watch: _megabytes(
            [Download(server.address, large, LARGE, times) for _ in range(count)], watch
        )

    def push(count: int, times: int) -> Callable[[Server, Watch], float]:
        return lambda server, watch: _megabytes(
            [
                Push(server.address, PUSHED, [bodies.fresh() for _ in range(times)])
                for _ in range(count)
            ],
            watch,
        )

    return [
        Step(Measure("HEAD manifest by tag", "req/s"), head(by_tag)),
        Step(Measure("HEAD manifest by digest", "req/s"), head(by_digest)),
        Step(Measure("GET manifest by tag", "req/s", target=15), get(by_tag)),
        Step(Measure("GET manifest by digest", "req/s", target=15), get(by_digest)),
        Step(Measure("GET 1 KiB blob", "req/s", target=15), get(small)),
        Step(Measure("GET 100 MiB, 1 client", "MB/s", target=1.2), download(1, DOWNLOADS_ALONE)),
        Step(Measure("GET 100 MiB, 8 clients", "MB/s", target=1.05), download(8, DOWNLOADS_OF_8)),
        Step(Measure("PUT 100 MiB, 1 client", "MB/s", target=1.05), push(1, PUSHES_ALONE), True),
        Step(Measure("PUT 100 MiB, 4 clients", "MB/s", target=1.15), push(4, 1), True),
    ]


def measure(programs: Sequence[Program], folder: Path, rounds: int, seconds: int) -> Results:
    """Run every server and every round; return the numbers.

    Raise MeasurementFailed, ServerFailed.
    """
    _require_space(folder, len(programs), rounds)
    bodies = Bodies(folder, LARGE)
    image = Image.make(bodies.fresh())
    taken = steps(image, bodies, seconds)
    results = Results([*(step.measure for step in taken), MEMORY, MEMORY_RSS], servers.OURS)
    with contextlib.ExitStack() as stack:
        started = []
        for program in programs:
            _tell(f"{program.name}: {program.version}; {program.notes}")
            started.append(stack.enter_context(servers.running(program, folder / program.name)))
        for server in started:
            seed.push(server, REPOSITORY, image, TAG)
            seed.read_back(server, REPOSITORY, image, TAG)
        if rounds > 1:  # a single round is for trying, not for judging
            _warm_up(steps(image, bodies, 1), started)
        for number in range(rounds):
            order = started if number % 2 == 0 else started[::-1]
            _round(f"round {number + 1}/{rounds}", taken, order, results)
    return results


def _warm_up(taken: Sequence[Step], started: Sequence[Server]) -> None:
    for step in taken:
        for server in started if not step.writes else ():
            step.take(server, lambda: None)


def _round(title: str, taken: Sequence[Step], order: Sequence[Server], results: Results) -> None:
    gauges = {server.name: Gauge(server.pid) for server in order}
    for step in taken:
        for server in order:
            if step.writes:
                os.sync()  # what one server left to be written is not to slow the next
            try:
                value = step.take(server, gauges[server.name].sample)
            except MeasurementFailed as failure:
                raise MeasurementFailed(f"{server.name}, {step.measure.name}: {failure}") from None
            results.add(step.measure, server.name, value)
            told = f"{report.number(value)} {step.measure.unit}"
            _tell(f"{title}: {step.measure.name}: {server.name} {told}")
    for server in order:
        peak = gauges[server.name].peak()
        results.add(MEMORY, server.name, peak.used / MB)
        results.add(MEMORY_RSS, server.name, peak.rss / MB)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark as the arguments say; return the exit code."""
    options = _parser().parse_args(arguments)
    rounds, seconds = (1, 1) if options.quick else (options.rounds, options.seconds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not wrk.is_installed():
        _tell("wrk is not on this machine; install Debian's package wrk")
        return 1
    programs = {name: servers.find(name) for name in servers.KNOWN}
    options.dir.mkdir(parents=True, exist_ok=True)
    facts = machine.facts(options.dir)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as folder:
            present = [one for one in programs.values() if isinstance(one, Program)]
            results = measure(present, Path(folder), rounds, seconds)
    except (MeasurementFailed, ServerFailed) as failure:
        _tell(f"failed: {failure}")
        return 1
    except KeyboardInterrupt:
        return 130
    run = report.Run(results, PEER, programs, facts, rounds, seconds)
    print(report.text(run))
    if options.json:
        options.json.write_text(json.dumps(report.document(run), indent=1) + "\n")
    if options.chart:
        options.chart.write_text(report.chart(run))
    missed = results.missed(PEER) if options.check else []
    for line in missed:
        print(f"missed: {line}")
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("dev.py bench registry", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a target is missed")
    parser.add_argument("--quick", action="store_true", help="one short round: does it run at all?")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument(
        "--seconds", type=int, default=3, metavar="N", help="for each measure of small requests"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the ratios there, as SVG")
    parser.add_argument(
        "--dir", type=Path, default=ROOT / "build", help="where the servers keep their data"
    )
    return parser


def _megabytes(work: Sequence[Client], watch: Watch) -> float:
    return clients.run(work, watch).rate / MB


def _require_space(folder: Path, count: int, rounds: int) -> None:
    """Raise MeasurementFailed unless the disk holds all that is pushed, and as much again."""
    needed = 2 * LARGE * count * (1 + rounds * (PUSHES_ALONE + 4))
    if shutil.disk_usage(folder).free < needed:
        raise MeasurementFailed(f"{folder} needs {needed / MB:.0f} MB free; choose another --dir")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
