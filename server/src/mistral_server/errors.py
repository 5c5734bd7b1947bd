"""The failures that terminate the server's process.

    ServerError                    terminates the process, with a report and an exit code
    ├── InvalidConfigurationError  the settings cannot be used
    ├── IncompatibleVersionsError  vLLM and mistral-common do not work together, or one is missing
    ├── ModelUnavailableError      the model's files are missing
    ├── StartFailedError           the engine exited or rejected the canary before it was ready
    ├── StartTimeoutError          the engine was not ready within its budget
    ├── EngineDiedError            the engine exited after it was ready
    ├── EngineFailedError          the engine exited, and its log or the kernel shows why
    └── StalledError               the engine had requests and made no progress

Each has the failure class that the termination report names and that determines the exit code.
``supervisor``, ``engine``, ``gate.api_keys``, ``model`` and ``cli`` raise them. During ``run`` the
supervisor writes the report; before that, and for ``fetch``, ``cli.commands`` does.
"""

from mistral_server.contract import EXIT_CODES, FailureClass, Phase


class ServerError(Exception):
    """A failure that terminates the process. `str()` is one or two sentences for users."""

    failure: FailureClass

    def __init__(self, message: str, *, evidence: str = "", engine_exit: int | None = None) -> None:
        super().__init__(message)
        self.evidence = evidence
        self.engine_exit = engine_exit
        self.phase: Phase | None = None
        self.suggest: dict[str, int] = {}

    @property
    def exit_code(self) -> int:
        """The exit code that belongs to the class."""
        return EXIT_CODES[self.failure]


class InvalidConfigurationError(ServerError):
    """The settings cannot be parsed, or contain a value that is not allowed."""

    failure = FailureClass.INVALID_CONFIGURATION


class IncompatibleVersionsError(ServerError):
    """vLLM and mistral-common do not work together for this model."""

    failure = FailureClass.INCOMPATIBLE_VERSIONS


class ModelUnavailableError(ServerError):
    """The model's files are not where the settings say, or could not be fetched."""

    failure = FailureClass.MODEL_UNAVAILABLE


class StartFailedError(ServerError):
    """The engine exited or kept rejecting the canary before it was ready."""

    failure = FailureClass.START_FAILED


class StartTimeoutError(ServerError):
    """The engine was running but not ready within `startup_seconds`."""

    failure = FailureClass.START_TIMEOUT


class EngineDiedError(ServerError):
    """A process of the engine exited after the server was ready."""

    failure = FailureClass.ENGINE_DIED


class EngineFailedError(ServerError):
    """The engine exited, and the cause was determined."""

    def __init__(
        self,
        failure: FailureClass,
        message: str,
        *,
        evidence: str,
        engine_exit: int,
        phase: Phase | None = None,
        suggest: dict[str, int] | None = None,
    ) -> None:
        super().__init__(message, evidence=evidence, engine_exit=engine_exit)
        self.failure = failure
        self.phase = phase
        self.suggest = suggest or {}


class StalledError(ServerError):
    """The engine had requests and made no progress for too long."""

    failure = FailureClass.STALLED
