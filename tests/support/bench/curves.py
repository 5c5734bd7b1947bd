"""Curves over seconds as SVG, one chart beside the other; see `plot` for steps over hours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.plot import COLORS

WIDTH, HEIGHT = 430, 300
LEFT, RIGHT, TOP, BOTTOM = 50, 15, 60, 40

Curve = Sequence[tuple[float, float]]
"""Points: seconds and a value."""


@dataclass(frozen=True)
class Chart:
    """Curves with a common unit."""

    title: str
    curves: Mapping[str, Curve]

    def lines(self, x: int) -> list[str]:
        """Return the elements of the chart, `x` pixels from the left."""
        points = [point for curve in self.curves.values() for point in curve]
        right, top = (_ticks(max(values))[-1] for values in zip(*points, strict=True))

        def position(at: float, value: float) -> str:
            along, up = (WIDTH - LEFT - RIGHT) * at / right, (HEIGHT - TOP - BOTTOM) * value / top
            return f"{LEFT + along:.1f} {HEIGHT - BOTTOM - up:.1f}"

        parts = [f'<g transform="translate({x} 0)">', f'<text x="10" y="20">{self.title}</text>']
        for tick in _ticks(top):
            left, _, y = position(0, tick).partition(" ")
            parts.append(f'<path d="M{left} {y}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y}" text-anchor="end">{tick:g}</text>')
        for tick in _ticks(right):
            at = position(tick, 0).partition(" ")[0]
            parts.append(f'<text x="{at}" y="{HEIGHT - 22}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 5}" text-anchor="middle">seconds</text>')
        for number, (name, curve) in enumerate(self.curves.items()):
            color = COLORS[number % len(COLORS)]
            path = "M" + "L".join(position(at, value) for at, value in curve)
            parts.append(f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
            start = LEFT + 130 * number
            parts.append(f'<path d="M{start} 40h22" stroke="{color}" stroke-width="2"/>')
            parts.append(f'<text x="{start + 28}" y="44">{name}</text>')
        return [*parts, "</g>"]


def curve_plot(charts: Sequence[Chart]) -> str:
    """Return charts side by side."""
    width = WIDTH * len(charts)
    box = f'viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" font-size="12"'
    drawn = [line for number, one in enumerate(charts) for line in one.lines(WIDTH * number)]
    background = f'<rect width="{width}" height="{HEIGHT}" fill="white"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
    return "\n".join([head, background, *drawn, "</svg>\n"])


def _ticks(most: float) -> list[float]:
    """Return round numbers from 0 to at least `most`, five or a few more."""
    size = 10 ** math.floor(math.log10(most / 4))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor * 4 >= most * 0.8)
    return [step * number for number in range(math.ceil(most / step) + 1)]
