"""What a scenario found: checks that hold or do not, and figures. Pure."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Findings:
    """Filled by one part of a scenario."""

    figures: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Figures that get lines of their own in the table, by what they are about."""
    failed: list[str] = field(default_factory=list)
    checks: int = 0

    def check(self, what: str, holds: bool, seen: object = "") -> bool:
        """Note whether something holds; `seen` says what was there instead."""
        self.checks += 1
        if not holds:
            self.failed.append(f"{what}: {seen}" if seen != "" else what)
        return holds

    def equal(self, what: str, seen: object, wanted: object) -> bool:
        """Note whether something is what it should be."""
        return self.check(what, seen == wanted, f"{seen!r} instead of {wanted!r}")

    def note(self, **figures: Any) -> None:
        """Keep figures."""
        self.figures |= figures

    def row(self, about: str, **figures: Any) -> None:
        """Keep figures that are compared with others, line by line; a later row replaces one."""
        self.rows[about] = figures

    def so_far(self) -> "Findings":
        """Return what is there by now, whatever is added later."""
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
    """Return the line about a part that came to its end."""
    outcome = "FAIL" if findings.failed else "PASS"
    scenario, part = name
    failed = tuple(findings.failed)
    figures, rows = findings.figures, findings.rows
    return Result(scenario, part, gpus, outcome, round(seconds, 1), figures, failed, rows)
