"""The results as a short table, printed last. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from mistral_dev.gpu.findings import Result

WIDTH = 160
"""Characters of a line: what came back of a run is read in a terminal."""

SHORT = 48
"""Characters of a figure that is shown; messages and evidence are in the JSON."""


def table(results: Sequence[Result]) -> str:
    """Return one line for each result, its rows and what failed below it, and the sums."""
    lines = [f"{'outcome':<8}{'GPUs':<6}{'seconds':>8}  scenario"]
    for one in results:
        gpus = ",".join(map(str, one.gpus)) or "-"
        head = f"{one.outcome:<8}{gpus:<6}{one.seconds:>8.1f}  {one.scenario}/{one.part}"
        lines.append(f"{head}  {_figures(one.figures)}"[:WIDTH].rstrip())
        lines += [f"{'':<10}{about}: {_figures(row)}"[:WIDTH] for about, row in one.rows.items()]
        lines += [f"{'':<24}! {sentence}"[:WIDTH] for sentence in one.failed]
    return "\n".join([*lines, _sums(results)])


def _figures(figures: dict[str, Any]) -> str:
    short = {
        name: str(value)
        for name, value in figures.items()
        if isinstance(value, str | int | float) and len(str(value)) <= SHORT
    }
    return " ".join(f"{name}={value}" for name, value in short.items())


def _sums(results: Iterable[Result]) -> str:
    outcomes = [one.outcome for one in results]
    counts = {name: outcomes.count(name) for name in ("PASS", "FAIL", "ERROR", "CUT")}
    return ", ".join(f"{count} {name}" for name, count in counts.items())
