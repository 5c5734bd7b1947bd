"""The API server's audit log: who did what to which object; switched on by `Cluster(audit=True)`.

Tests count with it what the operator writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def policy() -> dict[str, object]:
    """Return the audit policy: one event for every finished request, without bodies."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [{"level": "Metadata"}],
    }


def events(log: Path, start: int) -> Iterator[dict[str, Any]]:
    """Yield the events of a log from a position in bytes on, oldest first."""
    with log.open("rb") as file:
        file.seek(start)
        for line in file:
            if line.endswith(b"\n"):  # else it is being written at this moment
                yield json.loads(line)
