"""The findings of a scenario: failed checks and figures. Pure."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Findings:
    """Filled by one part of a scenario."""

    figures: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Figures with their own lines in the table, by name."""
    failed: list[str] = field(default_factory=list)
    checks: int = 0

    def check(self, what: str, holds: bool, got: object = "") -> bool:
        """Record a check; `got` is the actual value if it failed."""
        self.checks += 1
        if not holds:
            self.failed.append(f"{what}: {got}" if got != "" else what)
        return holds

    def equal(self, what: str, got: object, want: object) -> bool:
        """Record whether two values are equal."""
        return self.check(what, got == want, f"{got!r} instead of {want!r}")

    def note(self, **figures: Any) -> None:
        """Record figures."""
        self.figures |= figures

    def row(self, about: str, **figures: Any) -> None:
        """Record figures as a row of the table; a later row of the same name replaces it."""
        self.rows[about] = figures

    def so_far(self) -> "Findings":
        """Return a copy of the current findings."""
        return Findings(dict(self.figures), dict(self.rows), list(self.failed), self.checks)


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    scenario: str
    part: str
    gpus: tuple[int, ...]
    outcome: str
    """`PASS`, `FAIL`, `ERROR` where the scenario broke, or `CUT` where no time was left."""
    seconds: float
    figures: dict[str, Any]
    failed: tuple[str, ...]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)


def result(
    name: tuple[str, str], gpus: tuple[int, ...], seconds: float, findings: Findings
) -> Result:
    """Return the line of a finished part."""
    outcome = "FAIL" if findings.failed else "PASS"
    scenario, part = name
    failed = tuple(findings.failed)
    figures, rows = findings.figures, findings.rows
    return Result(scenario, part, gpus, outcome, round(seconds, 1), figures, failed, rows)
