"""Write the termination report that Kubernetes adds to the pod's status."""

import logging
import os
from collections.abc import Iterable

from mistral_server.contract import (
    SERVER_TOKEN_ENV,
    Stage,
    TerminationReport,
    public_text,
)
from mistral_server.contract.report import MAX_EVIDENCE, MAX_MESSAGE
from mistral_server.errors import ServerError

DEFAULT_PATH = "/dev/termination-log"
"""The kubelet's default path for the file."""

_log = logging.getLogger(__name__)


_SECRET_VARIABLES = ("HF_TOKEN", SERVER_TOKEN_ENV)


def make_report(
    error: ServerError, stage: Stage, uptime_seconds: float, secrets: Iterable[str] = ()
) -> TerminationReport:
    """Return the report for `error`.

    Args:
        error: what ended the server.
        stage: what the server was doing.
        uptime_seconds: how long it ran.
        secrets: values that must not be in the report, besides those of the environment.
    """
    # Kubernetes shows the report to all who may read pods.
    hidden = [*secrets, *(os.environ.get(name, "").strip() for name in _SECRET_VARIABLES)]
    return TerminationReport(
        failure=error.failure,
        stage=stage,
        message=public_text(str(error), MAX_MESSAGE, hidden),
        phase=error.phase or "",
        evidence=public_text(error.evidence, MAX_EVIDENCE, hidden),
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
