"""The termination report: a small JSON document in the pod's termination log."""

from typing import Annotated, Self

from pydantic import Field

from mistral_server.contract.base import ServerDocument
from mistral_server.contract.failures import ReportedFailure
from mistral_server.contract.lenient import cut_to
from mistral_server.contract.stages import ReportedPhase, ReportedStage

REPORT_LIMIT_BYTES = 4096
"""The kubelet truncates a termination message at this size."""


_SettingName = Annotated[str, Field(max_length=128)]
_Suggestion = Annotated[int, Field(ge=0, le=2**53)]


MAX_MESSAGE = 2048
MAX_EVIDENCE = 1024


class TerminationReport(ServerDocument):
    """Why the server failed."""

    failure: ReportedFailure = ""
    """The class of the failure; empty if the report has none."""
    stage: ReportedStage = ""
    """What the server was doing."""
    message: Annotated[str, cut_to(MAX_MESSAGE), Field(max_length=MAX_MESSAGE)] = ""
    """One or two sentences for users: what happened and what to change."""
    phase: ReportedPhase = ""
    """What the engine was doing; empty if its log does not show it."""
    evidence: Annotated[str, cut_to(MAX_EVIDENCE), Field(max_length=MAX_EVIDENCE)] = ""
    """The line of the engine's output that shows the cause."""
    suggest: dict[_SettingName, _Suggestion] = Field(default={}, max_length=16)
    """Values that the engine suggests, by the name of the setting."""
    engine_exit: int | None = Field(default=None, ge=-255, le=255)
    """Exit code of `vllm serve`, negative for a signal; None if it was still running."""
    uptime_seconds: int = Field(default=0, ge=0, le=10**9)
    """Seconds since the server started."""

    def to_bytes(self) -> bytes:
        """Return the report as JSON within `REPORT_LIMIT_BYTES`, truncating its texts if needed."""
        report = self
        for keep in (1500, 700, 300, 60):
            encoded = report.model_dump_json().encode()
            if len(encoded) <= REPORT_LIMIT_BYTES:
                break
            report = report._cut(keep)
        return report.model_dump_json().encode()

    def _cut(self, keep: int) -> Self:
        return self.model_copy(
            update={"message": self.message[:keep], "evidence": self.evidence[:keep]}
        )
