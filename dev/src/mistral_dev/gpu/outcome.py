"""What a run leaves behind: every result as JSON, the table, and the servers' logs, compressed."""

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
"""Of one server. The cause of an end stands within the first tenth of what 64 requests print."""


class Outcome:
    """Grows with every result, and writes itself each time: a run may be cut at any moment.

    Args:
        out: directory for the three files.
        work: directory with the logs.
        about: what is known of the machine.
    """

    def __init__(self, out: Path, work: Path, about: dict[str, object]) -> None:
        self._out = out
        self._work = work
        self._about = about
        self._began = time.monotonic()
        self.results: list[Result] = []
        out.mkdir(parents=True, exist_ok=True)

    def add(self, done: Result) -> None:
        """Keep a result, and say it."""
        self.results.append(done)
        seconds = time.monotonic() - self._began
        print(f"[{seconds:6.1f}] {done.outcome} {done.scenario}/{done.part}", flush=True)
        for sentence in done.failed:
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


def finished(out: Path) -> list[str]:
    """Return the names of the scenarios that an earlier run did not have to cut."""
    results = json.loads((out / _RESULTS).read_text())["results"]
    return [one["scenario"] for one in results if one["outcome"] != "CUT"]
