"""The contract between operator and server: plain pydantic models that both sides import.

The operator renders `ServerSettings` (and `FetchSettings` for a model from a hub) into an
environment variable of the pod; the server parses it. The server serves a `SignalDocument` while it
runs and writes a `TerminationReport` when it fails.
"""

from mistral_server.contract.cross_origin import METHODS, preflight_headers, response_headers
from mistral_server.contract.engine_args import EngineArgumentError, check_engine_args
from mistral_server.contract.failures import (
    CLASS_OF_EXIT_CODE,
    EXIT_CODES,
    KV_PRESSURE,
    MEMORY_FAILURES,
    FailureClass,
)
from mistral_server.contract.gate import (
    API_KEYS_FILE,
    KEYLESS_PATHS,
    OBSERVED_PATHS,
    OPEN_PATHS,
    GateSettings,
    LimitSettings,
    LoopAction,
    LoopSettings,
    is_open,
    may_generate,
)
from mistral_server.contract.key_digests import (
    KEY_DIGEST_METHOD,
    MAX_KEY_DIGESTS,
    SALT_BYTES,
    KeyDigest,
    KeyDigests,
    Salt,
    key_digest,
)
from mistral_server.contract.lenient import printable
from mistral_server.contract.public_text import public_text
from mistral_server.contract.report import REPORT_LIMIT_BYTES, TerminationReport
from mistral_server.contract.request_ids import REQUEST_ID_HEADER, request_id
from mistral_server.contract.setting_names import FLAGS
from mistral_server.contract.settings import (
    COMPILE_CACHE_ENV,
    DRAINING_ENV,
    ENDPOINT_ENV,
    ENDPOINT_HEADER,
    FETCH_SETTINGS_ENV,
    SERVER_SETTINGS_ENV,
    SERVER_TOKEN_ENV,
    SERVER_TOKEN_HEADER,
    EngineSettings,
    FetchSettings,
    LifecycleSettings,
    LogSettings,
    ModelSettings,
    ServerSettings,
    SpeculationSettings,
    SystemPromptSettings,
    endpoint_text,
)
from mistral_server.contract.signals import (
    CompileCacheReport,
    CompileCacheUse,
    EffectiveConfiguration,
    FetchProgress,
    SignalDocument,
)
from mistral_server.contract.stages import PHASE_OF_STAGE, Phase, Stage

__all__ = [
    "API_KEYS_FILE",
    "CLASS_OF_EXIT_CODE",
    "COMPILE_CACHE_ENV",
    "DRAINING_ENV",
    "ENDPOINT_ENV",
    "ENDPOINT_HEADER",
    "EXIT_CODES",
    "FETCH_SETTINGS_ENV",
    "FLAGS",
    "KEYLESS_PATHS",
    "KEY_DIGEST_METHOD",
    "KV_PRESSURE",
    "MAX_KEY_DIGESTS",
    "MEMORY_FAILURES",
    "METHODS",
    "OBSERVED_PATHS",
    "OPEN_PATHS",
    "PHASE_OF_STAGE",
    "REPORT_LIMIT_BYTES",
    "REQUEST_ID_HEADER",
    "SALT_BYTES",
    "SERVER_SETTINGS_ENV",
    "SERVER_TOKEN_ENV",
    "SERVER_TOKEN_HEADER",
    "CompileCacheReport",
    "CompileCacheUse",
    "EffectiveConfiguration",
    "EngineArgumentError",
    "EngineSettings",
    "FailureClass",
    "FetchProgress",
    "FetchSettings",
    "GateSettings",
    "KeyDigest",
    "KeyDigests",
    "LifecycleSettings",
    "LimitSettings",
    "LogSettings",
    "LoopAction",
    "LoopSettings",
    "ModelSettings",
    "Phase",
    "Salt",
    "ServerSettings",
    "SignalDocument",
    "SpeculationSettings",
    "Stage",
    "SystemPromptSettings",
    "TerminationReport",
    "check_engine_args",
    "endpoint_text",
    "is_open",
    "key_digest",
    "may_generate",
    "preflight_headers",
    "printable",
    "public_text",
    "request_id",
    "response_headers",
]
