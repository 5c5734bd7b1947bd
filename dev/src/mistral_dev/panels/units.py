"""Values as Grafana writes them for the units of the dashboard."""

from __future__ import annotations

import math

_SUFFIXES = {"reqps": " req/s", "ops": " ops/s", "celsius": " °C", "percent": "%"}
"""After a number that is shortened like one without a unit."""

_THOUSANDS = ("", " K", " Mil", " Bil")
_DURATIONS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "mins"), (1.0, "s"))


def text(value: float, unit: str) -> str:
    """Return a value with its unit.

    Raises:
        ValueError: the dashboard uses a unit that is not known here.
    """
    if math.isnan(value):
        return "-"
    if unit == "percentunit":
        return f"{_number(100 * value)}%"
    if unit == "s":
        return _duration(value)
    if unit == "decmbytes":
        return f"{_number(value / 1000)} GB" if abs(value) >= 1000 else f"{_number(value)} MB"
    if unit in _SUFFIXES:
        return f"{_short(value)}{_SUFFIXES[unit]}"
    if unit in {"short", "none"}:
        return _short(value)
    raise ValueError(f"no format for the unit {unit}: add it to {__name__}")


def _short(value: float) -> str:
    """Return a number with K for thousands."""
    power = 0
    while abs(value) >= 1000 and power < len(_THOUSANDS) - 1:
        value, power = value / 1000, power + 1
    return f"{_number(value)}{_THOUSANDS[power]}"


def _duration(seconds: float) -> str:
    """Return a time in the largest unit that leaves a number of at least 1."""
    size = abs(seconds)
    for length, name in _DURATIONS:
        if size >= length:
            return f"{_number(seconds / length)} {name}"
    if size >= 1e-3 or size == 0:
        return f"{_number(1000 * seconds)} ms" if size else "0 s"
    return f"{_number(1e6 * seconds)} µs"


def _number(value: float) -> str:
    """Return three significant digits, without zeros at the end."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    rounded = f"{value:.{digits}f}"
    return rounded.rstrip("0").rstrip(".") if "." in rounded else rounded
