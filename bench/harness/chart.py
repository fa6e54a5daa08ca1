"""Ratios as a bar chart in SVG. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

_LABELS: Final = 250
_WIDTH: Final = 760
_ROW: Final = 30
_BAR: Final = 18
_TOP: Final = 46


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: `value` 1 is equal to the peer; `target` is drawn as a line across it."""

    label: str
    value: float
    target: float | None


def bars(title: str, entries: Sequence[Bar]) -> str:
    """Return an SVG document with a horizontal bar for each entry, on a logarithmic scale."""
    most = max(max(entry.value, entry.target or 1) for entry in entries)
    least = min(0.5, *(entry.value for entry in entries))
    span = math.log(most * 1.15 / least)

    def at(value: float) -> float:
        return _LABELS + (_WIDTH - _LABELS - 60) * math.log(value / least) / span

    height = _TOP + _ROW * len(entries) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="24" font-size="16">{escape(title)}</text>',
    ]
    for row, entry in enumerate(entries):
        top = _TOP + _ROW * row
        middle = top + _BAR - 4
        left, right = sorted((at(1), at(entry.value)))
        parts += [
            f'<text x="{_LABELS - 10}" y="{middle}" text-anchor="end">{escape(entry.label)}</text>',
            f'<rect x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{_BAR}" '
            'fill="#2f7ed8"/>',
            f'<text x="{right + 6:.1f}" y="{middle}">{entry.value:.2f}</text>',
        ]
        if entry.target is not None:
            x = at(entry.target)
            parts.append(
                f'<line x1="{x:.1f}" y1="{top - 3}" x2="{x:.1f}" y2="{top + _BAR + 3}" '
                'stroke="#c33" stroke-width="2"/>'
            )
    x = at(1)
    parts += [
        f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{height - 8}" stroke="#333"/>',
        "</svg>",
        "",
    ]
    return "\n".join(parts)
