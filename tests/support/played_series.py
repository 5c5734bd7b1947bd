"""Made series of `promtool test rules`, played to a real Prometheus in less time.

A minute of the series takes `MINUTE_SECONDS`, and so does a minute in the rules: every duration of
theirs is divided by the same factor.
"""

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

MINUTE_SECONDS = 0.5
"""What a minute of series and rules takes."""

_UNITS = {"m": 1, "h": 60, "d": 24 * 60}
_MISSING = ("_", "stale")
_NUMBER = r"-?[\d.]+"
_STEPS = re.compile(rf"(?P<first>{_NUMBER})((?P<step>[+-][\d.]+))?x(?P<times>\d+)")


def samples(values: str) -> Iterator[float | None]:
    """Yield a sample for each minute, None where there is none.

    Of promtool's notation: `_`, `_x3` (three without a sample), `stale`, `7`, `7x3` (four samples)
    and `0+9x3` (0, 9, 18 and 27).
    """
    for item in values.split():
        if item in _MISSING:
            yield None
        elif item.startswith("_x"):
            yield from [None] * int(item.removeprefix("_x"))
        elif match := _STEPS.fullmatch(item):
            first, step = float(match["first"]), float(match["step"] or 0)
            yield from (first + step * at for at in range(int(match["times"]) + 1))
        else:
            yield float(item)


def scaled_rules(document: dict[str, Any]) -> dict[str, Any]:
    """Return rules whose minutes take `MINUTE_SECONDS`."""
    return {
        "groups": [
            {**group, "rules": [_scaled_rule(rule) for rule in group["rules"]]}
            for group in document["groups"]
        ]
    }


def _scaled_rule(rule: dict[str, Any]) -> dict[str, Any]:
    windows = re.sub(r"\[[^\]]+\]", lambda match: _scaled(match[0]), rule["expr"])
    return {**rule, "expr": windows} | ({"for": _scaled(rule["for"])} if "for" in rule else {})


def _scaled(durations: str) -> str:
    """Return a text with durations in which each has its share of time."""
    return re.sub(
        r"(\d+)([mhd])",
        lambda match: f"{round(int(match[1]) * _UNITS[match[2]] * MINUTE_SECONDS * 1000)}ms",
        durations,
    )


class Player:
    """Gives the samples of now, minute after minute.

    Args:
        series: their values in promtool's notation, by name and labels.
    """

    def __init__(self, series: dict[str, str]) -> None:
        self._series = {name: list(samples(values)) for name, values in series.items()}
        self._lock = threading.Lock()
        self._began = time.monotonic()

    @property
    def minute(self) -> int:
        """The minute that is played."""
        with self._lock:
            return int((time.monotonic() - self._began) / MINUTE_SECONDS)

    def skip_to(self, minute: int) -> None:
        """Play another minute now."""
        with self._lock:
            self._began = time.monotonic() - minute * MINUTE_SECONDS

    def exposition(self) -> bytes:
        """Return the samples of now; one that is over has none."""
        minute = self.minute
        lines = [
            f"{name} {values[minute]}\n"
            for name, values in self._series.items()
            if minute < len(values) and values[minute] is not None
        ]
        return "".join(lines).encode()
