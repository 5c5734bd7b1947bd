"""A plot of steps as SVG, by hand: it is small, and its differences can be read."""

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 860, 330
LEFT, RIGHT, TOP, BOTTOM = 45, 15, 50, 40
COLORS = ("#0b6e4f", "#c1440e", "#7a7a7a", "#3b5ba5")

Steps = Sequence[tuple[float, int]]
"""From when on which number holds."""


def step_plot(title: str, lines: Mapping[str, Steps], seconds: float) -> str:
    """Return the plot of some lines over hours."""
    most = max(number for steps in lines.values() for _, number in steps)
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{title}</text>',
        *_grid(most, seconds),
    ]
    for number, (name, steps) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        x = LEFT + 210 * number
        parts.append(f'<path d="M{x} 36h22" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 28}" y="40">{name}</text>')
        path = _path(steps, most, seconds)
        parts.append(f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
    return "\n".join([*parts, "</svg>\n"])


def _grid(most: int, seconds: float) -> list[str]:
    parts = []
    for number in range(most + 1):
        y = _y(number, most)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number}</text>')
    hours = round(seconds / 3600)
    for hour in range(0, hours + 1, max(hours // 12, 1)):
        x = _x(hour * 3600, seconds)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 22}" text-anchor="middle">{hour}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 5}" text-anchor="middle">hours</text>')
    return parts


def _path(steps: Steps, most: int, seconds: float) -> str:
    (start, first), *rest = steps
    path = f"M{_x(start, seconds):.1f} {_y(first, most):.1f}"
    for at, number in rest:
        path += f"H{_x(at, seconds):.1f}V{_y(number, most):.1f}"
    return f"{path}H{_x(seconds, seconds):.1f}"


def _x(at: float, seconds: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * at / seconds


def _y(number: int, most: int) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - number / most)
