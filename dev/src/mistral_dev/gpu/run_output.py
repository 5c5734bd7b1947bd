"""The output of a run: every result as JSON, the table, and the servers' logs, compressed."""

import json
import tarfile
import time
from dataclasses import asdict
from pathlib import Path

from mistral_dev.gpu.findings import Result
from mistral_dev.gpu.table import table

_RESULTS = "results.json"

_KINDS = ("*.log", "*.termination", "*.raw")

LOG_BYTES = 4_000_000
"""Limit per server. The cause of a failure is in the first tenth of the output of 64 requests."""


class RunOutput:
    """Collects results and writes them each time, because a run may be killed at any moment.

    Args:
        out: directory for the three files.
        work: directory with the logs.
        about: facts about the machine.
    """

    def __init__(self, out: Path, work: Path, about: dict[str, object]) -> None:
        self._out = out
        self._work = work
        self._about = about
        self._started = time.monotonic()
        self.results: list[Result] = []
        out.mkdir(parents=True, exist_ok=True)

    def add(self, result: Result) -> None:
        """Record a result and print it."""
        self.results.append(result)
        seconds = time.monotonic() - self._started
        print(f"[{seconds:6.1f}] {result.outcome} {result.scenario}/{result.part}", flush=True)
        for sentence in result.failed:
            print(f"         ! {sentence}"[:600], flush=True)
        self.write()

    def write(self) -> None:
        """Write everything but the logs."""
        document = {"about": self._about, "results": [asdict(one) for one in self.results]}
        (self._out / _RESULTS).write_text(json.dumps(document, indent=1, default=str))
        (self._out / "table.txt").write_text(table(self.results) + "\n")

    def write_logs(self) -> None:
        """Pack the servers' logs and reports, and what was recorded of them, into one file."""
        paths = [path for kind in _KINDS for path in sorted(self._work.glob(kind))]
        with tarfile.open(self._out / "logs.tar.xz", "w:xz", preset=2) as tar:
            for path in paths:
                info = tar.gettarinfo(path, path.name)
                info.size = min(info.size, LOG_BYTES)
                with path.open("rb") as file:
                    tar.addfile(info, file)


def finished_scenarios(out: Path) -> list[str]:
    """Return the names of the scenarios that an earlier run did not have to cut."""
    results = json.loads((out / _RESULTS).read_text())["results"]
    return [one["scenario"] for one in results if one["outcome"] != "CUT"]
