"""Results for people and for programs. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bench.harness.chart import Bar, bars
from bench.harness.results import Measure, Ratio, Results, reaches
from bench.harness.servers import NotHere, Program


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run: its numbers, how and on what they were taken.

    `programs` maps every server to what ran, or to why it did not. The targets are about the
    server named `peer`.
    """

    results: Results
    peer: str
    programs: Mapping[str, Program | NotHere]
    machine: Mapping[str, object]
    rounds: int
    seconds: int

    def peers(self) -> list[str]:
        """Return the servers that ran beside ours."""
        return [
            name
            for name, one in self.programs.items()
            if isinstance(one, Program) and name != self.results.ours
        ]


def text(run: Run) -> str:
    """Return the table and all that one must know to read it."""
    versions = [
        f"{name}: {program.version}; {program.notes}"
        if isinstance(program, Program)
        else f"{name}: not run ({program})"
        for name, program in run.programs.items()
    ]
    return "\n".join(
        [
            table(run.results, run.peers()),
            "",
            f"Medians (memory: the largest) of {run.rounds} rounds, in brackets lowest to highest; "
            f"{run.seconds} s for each measure of small requests.",
            *behind(run.results, run.peers()),
            *versions,
            ", ".join(f"{name} {value}" for name, value in run.machine.items()),
        ]
    )


def document(run: Run) -> dict[str, object]:
    """Return every number and fact, ready for JSON."""
    return {
        "machine": dict(run.machine),
        "servers": {
            name: {"version": program.version, "notes": program.notes}
            if isinstance(program, Program)
            else {"not_run": str(program)}
            for name, program in run.programs.items()
        },
        "rounds": run.rounds,
        "seconds": run.seconds,
        "measures": [asdict(measure) for measure in run.results.measures],
        "values": run.results.raw(),
        "missed": run.results.missed(run.peer),
    }


def chart(run: Run) -> str:
    """Return our ratios to the peer of the targets as an SVG document."""
    entries = [
        Bar(measure.name, ratio.value, measure.target)
        for measure in run.results.measures
        if (ratio := run.results.ratio(measure, run.peer))
    ]
    return bars(f"{run.results.ours} ÷ {run.peer} (red: target)", entries)


def table(results: Results, peers: Sequence[str], *, verdicts: bool = True) -> str:
    """Return one row per measure: medians with their range, ratios, targets; in Markdown.

    Targets are against the first of `peers`; without `verdicts` they are left out.
    """
    servers = [results.ours, *peers]
    header = ["", "unit", *servers, *(f"÷ {peer}" for peer in peers)]
    header += ["target", ""] if verdicts else []
    rows = [header]
    for measure in results.measures:
        ratios = [results.ratio(measure, peer) for peer in peers]
        cells = [numbers(measure, results.values(measure, server)) for server in servers]
        rows.append(
            [
                measure.name,
                measure.unit,
                *cells,
                *(_ratio(ratio) for ratio in ratios),
            ]
        )
        if verdicts:
            rows[-1] += [_target(measure), _verdict(measure, ratios[0] if ratios else None)]
    return aligned(rows)


def behind(results: Results, peers: Sequence[str]) -> list[str]:
    """Say for each peer in which measures it is better than we are."""
    lines = []
    for peer in peers:
        found = [f"{measure.name} ({ratio.value:.2f})" for measure, ratio in results.behind(peer)]
        lines.append(f"{peer} is better in: {', '.join(found) or 'nothing'}")
    return lines


def number(value: float) -> str:
    """Return a number with three digits that count, and spaces between thousands."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def numbers(measure: Measure, values: Sequence[float]) -> str:
    """Return what sums up the rounds of a measure, with their range; `-` for none."""
    if not values:
        return "-"
    spread = f" ({number(min(values))} to {number(max(values))})" if len(values) > 1 else ""
    return number(measure.summary(values)) + spread


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return "-"
    if ratio.lowest == ratio.highest:
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f})"


def _target(measure: Measure) -> str:
    if measure.target is None:
        return ""
    return f"{'≥' if measure.better == 'more' else '≤'} {measure.target:g}"


def _verdict(measure: Measure, ratio: Ratio | None) -> str:
    if measure.target is None:
        return ""
    return "reached" if reaches(measure, ratio) else "MISSED"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table in Markdown, the first as its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
