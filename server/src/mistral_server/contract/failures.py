"""Names of the ways in which a server ends, and the exit code of each."""

from enum import StrEnum


class FailureClass(StrEnum):
    """Why a server process ended. The names are API: they appear in status, metrics and alerts."""

    ENGINE_DIED = "EngineDied"
    """A process of the engine ended after the server had been ready."""
    START_FAILED = "StartFailed"
    """The engine ended before it answered its first chat."""
    START_TIMEOUT = "StartTimeout"
    """The engine was alive but did not answer a chat within the start-up budget."""
    STALLED = "Stalled"
    """The engine had requests and computed nothing for too long."""
    INCOMPATIBLE_VERSIONS = "IncompatibleVersions"
    """vLLM and mistral-common do not work together for this model."""
    INVALID_CONFIGURATION = "InvalidConfiguration"
    """The settings cannot be parsed or name something that the server refuses."""
    MODEL_UNAVAILABLE = "ModelUnavailable"
    """The model's files are not where the settings say, or could not be fetched."""


EXIT_CODES: dict[FailureClass, int] = {
    FailureClass.MODEL_UNAVAILABLE: 66,  # EX_NOINPUT
    FailureClass.INCOMPATIBLE_VERSIONS: 69,  # EX_UNAVAILABLE
    FailureClass.ENGINE_DIED: 70,  # EX_SOFTWARE
    FailureClass.START_FAILED: 71,
    FailureClass.START_TIMEOUT: 75,  # EX_TEMPFAIL
    FailureClass.STALLED: 76,
    FailureClass.INVALID_CONFIGURATION: 78,  # EX_CONFIG
}
"""Exit code of each class: distinct, non-zero, below the 128 that a shell adds for signals.

vLLM itself exits 0 when its engine dies, which Kubernetes shows as Completed.
"""
