"""Lines over a few steps as SVG, several panels side by side. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

_COLOURS: Final = ("#2f7ed8", "#c0392b", "#2c974b", "#8e44ad", "#d68910", "#666")
_PANEL, _HEIGHT = 400, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 66, 46
_GRID: Final = 0.2
"""What lies between two lines of the scale."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram: a line of values in [0, 1] per name, one value per step."""

    title: str
    lines: Mapping[str, Sequence[float]]


def lines(title: str, steps: Sequence[str], axis: str, panels: Sequence[Panel]) -> str:
    """Return an SVG document. All panels have the same names, whose colours are told once, and
    one scale."""
    width = _PANEL * len(panels)
    height = _HEIGHT + _TOP + _BOTTOM
    most = max(value for panel in panels for line in panel.lines.values() for value in line)
    top = max(1, math.ceil(most / _GRID)) * _GRID
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="24" font-size="16">{escape(title)}</text>',
        *_legend(list(panels[0].lines)),
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, _PANEL * number, steps, axis, top)
    return "\n".join([*parts, "</svg>", ""])


def _legend(names: Sequence[str]) -> list[str]:
    parts, x = [], 10
    for number, name in enumerate(names):
        colour = _COLOURS[number % len(_COLOURS)]
        parts += [
            f'<line x1="{x}" y1="40" x2="{x + 22}" y2="40" stroke="{colour}" stroke-width="3"/>',
            f'<text x="{x + 28}" y="44">{escape(name)}</text>',
        ]
        x += 50 + 8 * len(name)
    return parts


def _panel(panel: Panel, left: int, steps: Sequence[str], axis: str, top: float) -> list[str]:
    wide = _PANEL - _LEFT - _RIGHT
    bottom = _TOP + _HEIGHT

    def across(step: int) -> float:
        return left + _LEFT + wide * (step + 0.5) / len(steps)

    def up(value: float) -> float:
        return bottom - (_HEIGHT - 24) * value / top

    middle = left + _LEFT + wide / 2
    parts = [
        f'<text x="{middle:.1f}" y="{_TOP + 12}" text-anchor="middle">{escape(panel.title)}</text>'
    ]
    for number in range(round(top / _GRID) + 1):
        value = number * _GRID
        parts += [
            f'<line x1="{left + _LEFT}" y1="{up(value):.1f}" x2="{left + _PANEL - _RIGHT}" '
            f'y2="{up(value):.1f}" stroke="#ddd"/>',
            f'<text x="{left + _LEFT - 8}" y="{up(value) + 4:.1f}" text-anchor="end">'
            f"{value * 100:.0f} %</text>",
        ]
    parts += [
        f'<text x="{across(number):.1f}" y="{bottom + 18}" text-anchor="middle">'
        f"{escape(step)}</text>"
        for number, step in enumerate(steps)
    ]
    parts.append(
        f'<text x="{middle:.1f}" y="{bottom + 38}" text-anchor="middle">{escape(axis)}</text>'
    )
    for number, values in enumerate(panel.lines.values()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(across(step), up(value)) for step, value in enumerate(values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return parts
