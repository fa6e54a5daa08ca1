"""`dev.py bench client`: Entrepot, skopeo, crane and regctl move the same image.

Each is measured as a whole process, from its start to its end, against the same local registry.
In every round each measure is taken on one client after the other, and every other round goes
through them backwards. See docs/benchmarks.md.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bench.harness import commands, layered_image, machine, report, servers
from bench.harness.commands import ClientProgram, Cost
from bench.harness.exchange import MeasurementFailed
from bench.harness.results import Measure, Results
from bench.harness.servers import Program, Server, ServerFailed
from tools.environment import ROOT

MB: Final = 1_000_000
LAYERS, LAYER_MIB = 10, 102
MOST_MEMORY: Final = 120 * 1024 * 1024
TAG: Final = "bench"
REPOSITORY: Final = "bench/image"

VERBS: Final = ("pull to a layout", "push from a layout", "cp to another registry")
JUDGED: Final = VERBS[:2]


def measures() -> dict[str, tuple[Measure, Measure, Measure]]:
    """Return time, CPU time and memory of each verb."""
    return {
        verb: (
            Measure(f"{verb}: time", "s", "less", 0.9 if verb in JUDGED else None, peak=False),
            Measure(f"{verb}: CPU", "s", "less", peak=False),
            Measure(f"{verb}: memory", "MB", "less"),
        )
        for verb in VERBS
    }


class Bench:
    """The seeded registry, the image's layout, and a place for what clients make."""

    def __init__(self, program: Program, source: Server, layout: Path, folder: Path) -> None:
        self._program, self._source, self._layout, self._folder = program, source, layout, folder
        self._size = layered_image.total(layout)

    def pull(self, client: ClientProgram) -> Cost:
        """Pull into an empty folder."""
        target = self._folder / "pulled"
        try:
            cost = self._run(client, client.pull(_image(self._source), str(target)))
            if (size := layered_image.total(target)) != self._size:
                raise MeasurementFailed(f"{client.name} wrote {size} bytes, not {self._size}")
        finally:
            shutil.rmtree(target, ignore_errors=True)
        return cost

    def push(self, client: ClientProgram) -> Cost:
        """Push to a registry that was never seen before, so that nobody knows what it has."""
        return self._to_empty(
            lambda image: self._run(client, client.push(str(self._layout), image))
        )

    def copy(self, client: ClientProgram) -> Cost:
        """Copy from the seeded registry to an empty one."""
        source = _image(self._source)
        return self._to_empty(lambda image: self._run(client, client.copy(source, image)))

    def _to_empty(self, send: Callable[[str], Cost]) -> Cost:
        folder = self._folder / "empty"
        try:
            with servers.running(self._program, folder) as empty:
                return send(_image(empty))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, client: ClientProgram, words: Sequence[str]) -> Cost:
        os.sync()  # what one client left to be written is not to slow the next
        home = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            return commands.run(client, words, home)
        finally:
            shutil.rmtree(home)


def measure(
    program: Program, clients: Sequence[ClientProgram], folder: Path, rounds: int
) -> Results:
    """Run all rounds. Raise MeasurementFailed, ServerFailed."""
    layout = folder / "layout"
    size = layered_image.make(layout, layers=LAYERS, layer_mib=LAYER_MIB, tag=TAG)
    _tell(f"an image of {LAYERS} layers, {size / MB:.0f} MB; registry: {program.name}")
    taken = measures()
    results = Results([one for three in taken.values() for one in three], commands.OURS)
    with servers.running(program, folder / "source") as source:
        bench = Bench(program, source, layout, folder)
        verbs = dict(zip(VERBS, (bench.pull, bench.push, bench.copy), strict=True))
        ours = clients[0]
        commands.run(ours, ours.push(str(layout), _image(source)), folder / "seed")
        for number in range(rounds):
            order = clients if number % 2 == 0 else clients[::-1]
            for verb, work in verbs.items():
                for client in order:
                    cost = work(client)
                    values = (cost.wall, cost.cpu, cost.memory / MB)
                    for one, value in zip(taken[verb], values, strict=True):
                        results.add(one, client.name, value)
                    _tell(
                        f"round {number + 1}/{rounds}: {verb}: {client.name} {cost.wall:.2f} s, "
                        f"CPU {cost.cpu:.2f} s, {cost.memory / MB:.0f} MB"
                    )
    return results


def missed(results: Results, peers: Sequence[str]) -> list[str]:
    """Name every target that is missed: times against the best peer, memory in bytes."""
    found = []
    for verb, (time, _, memory) in measures().items():
        ratios = [ratio.value for peer in peers if (ratio := results.ratio(time, peer))]
        if time.target is not None and (not ratios or max(ratios) > time.target):
            shown = f"{max(ratios):.2f} of the best peer's" if ratios else "not measured"
            found.append(f"{time.name}: {shown}, the target is at most {time.target}")
        most = max(results.values(memory, commands.OURS), default=0) * MB
        if verb in JUDGED and most > MOST_MEMORY:
            found.append(f"{memory.name}: {most / MB:.0f} MB, more than {MOST_MEMORY / MB:.0f}")
    return found


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark as the arguments say; return the exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    program = servers.find(options.server)
    if not isinstance(program, Program):
        _tell(str(program))
        return 1
    clients, missing = commands.present()
    peers = [client.name for client in clients[1:]]
    options.dir.mkdir(parents=True, exist_ok=True)
    facts = machine.facts(options.dir)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as folder:
            rounds = 1 if options.quick else options.rounds
            results = measure(program, clients, Path(folder), rounds)
    except (MeasurementFailed, ServerFailed) as failure:
        _tell(f"failed: {failure}")
        return 1
    except KeyboardInterrupt:
        return 130
    print(report.table(results, peers, verdicts=False))
    print(*report.behind(results, peers), sep="\n")
    for client in clients:
        print(f"{client.name}: {client.version}")
    print(*(f"{name}: not run (not on this machine)" for name in missing), sep="\n")
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    lines = missed(results, peers)
    if options.json:
        document = {
            "machine": facts,
            "registry": f"{program.name} {program.version}",
            "clients": {client.name: client.version for client in clients},
            "measures": [asdict(one) for one in results.measures],
            "values": results.raw(),
            "missed": lines,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    print(*(f"missed: {line}" for line in lines), sep="\n")
    return 1 if options.check and lines else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("dev.py bench client", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a target is missed")
    parser.add_argument("--quick", action="store_true", help="one round: does it run at all?")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    parser.add_argument(
        "--server",
        choices=servers.KNOWN,
        default=servers.OURS,
        help="the registry that they all talk to",
    )
    parser.add_argument(
        "--dir", type=Path, default=ROOT / "build", help="where images and registries lie"
    )
    return parser


def _image(server: Server) -> str:
    return f"{server.address[0]}:{server.address[1]}/{REPOSITORY}:{TAG}"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
