"""The failures that end the server's process.

    ServerError                    ends the process, with a report and an exit code
    ├── InvalidConfigurationError  the settings cannot be used
    ├── IncompatibleVersionsError  vLLM and mistral-common do not work together
    ├── ModelUnavailableError      the model's files are not there
    ├── StartFailedError           the engine ended, or refused the canary, before it was ready
    ├── StartTimeoutError          the engine was not ready within its budget
    ├── EngineDiedError            the engine ended after it had been ready
    ├── EngineFailedError          the engine ended, and its log or the kernel says why
    └── StalledError               the engine had work and did none

Each has the failure class that the termination report names and that determines the exit code.
``supervisor``, ``engine``, ``gate.api_keys``, ``model`` and ``cli`` raise them. During ``run`` the
supervisor writes the report; before that, and for ``fetch``, ``cli.commands`` does.
"""

from mistral_server.contract import EXIT_CODES, FailureClass, Phase


class ServerError(Exception):
    """A failure that ends the process. `str()` is one or two sentences for a person."""

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
    """The settings cannot be parsed, or name something that is refused."""

    failure = FailureClass.INVALID_CONFIGURATION


class IncompatibleVersionsError(ServerError):
    """vLLM and mistral-common do not work together for this model."""

    failure = FailureClass.INCOMPATIBLE_VERSIONS


class ModelUnavailableError(ServerError):
    """The model's files are not where the settings say, or could not be fetched."""

    failure = FailureClass.MODEL_UNAVAILABLE


class StartFailedError(ServerError):
    """The engine ended, or kept refusing a chat, before it was ready."""

    failure = FailureClass.START_FAILED


class StartTimeoutError(ServerError):
    """The engine was alive and not ready when its start-up budget was spent."""

    failure = FailureClass.START_TIMEOUT


class EngineDiedError(ServerError):
    """A process of the engine ended after the server had been ready."""

    failure = FailureClass.ENGINE_DIED


class EngineFailedError(ServerError):
    """The engine ended for a cause that is known."""

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
    """The engine had requests and computed nothing for too long."""

    failure = FailureClass.STALLED
