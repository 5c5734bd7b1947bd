"""Write the server's last words where Kubernetes picks them up."""

import logging
import os

from mistral_server.contract import Stage, TerminationReport
from mistral_server.errors import ServerError

DEFAULT_PATH = "/dev/termination-log"
"""Where the kubelet mounts the file unless the pod says otherwise."""

_log = logging.getLogger(__name__)


def make_report(error: ServerError, stage: Stage, uptime_seconds: float) -> TerminationReport:
    """Return the report about `error`."""
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
    """Write the report to `path`, and to the log whatever happens to the file."""
    encoded = report.to_bytes()
    _log.error("Ended: %s", encoded.decode())
    try:
        # The file belongs to the kubelet and exists in a pod: it is filled, never replaced.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except OSError as error:
        _log.warning("Cannot write the termination report to %s: %s", path, error)
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(encoded)
