"""Write the termination report that Kubernetes adds to the pod's status."""

import logging
import os

from mistral_server.contract import Stage, TerminationReport
from mistral_server.errors import ServerError

DEFAULT_PATH = "/dev/termination-log"
"""The kubelet's default path for the file."""

_log = logging.getLogger(__name__)


def make_report(error: ServerError, stage: Stage, uptime_seconds: float) -> TerminationReport:
    """Return the report for `error`."""
    return TerminationReport(
        failure=error.failure,
        stage=stage,
        message=str(error),
        phase=error.phase or "",
        evidence=error.evidence,
        suggest=error.suggest,
        engine_exit=error.engine_exit,
        uptime_seconds=int(uptime_seconds),
    )


def write_report(report: TerminationReport, path: str) -> None:
    """Write the report to the log and to `path`."""
    encoded = report.to_bytes()
    _log.error("Ended: %s", encoded.decode())
    try:
        # The kubelet owns the file and creates it in a pod: write to it, never replace it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except OSError as error:
        _log.warning("Cannot write the termination report to %s: %s", path, error)
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(encoded)
