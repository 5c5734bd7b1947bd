"""Converts a spec to the settings of the server; the only module that depends on both."""

from mistral_operator.api.fields import FIELDS
from mistral_operator.api.model import Model
from mistral_operator.api.spec import Spec
from mistral_operator.kube.names import HEALTH_PORT, HTTP_PORT
from mistral_operator.kube.quantities import quantity_bytes
from mistral_server.contract import (
    OPEN_PATHS,
    EngineSettings,
    FetchSettings,
    GateSettings,
    LifecycleSettings,
    LimitSettings,
    LogSettings,
    LoopSettings,
    ModelSettings,
    ServerSettings,
    SystemPromptSettings,
)

MODELS = "/models"
"""Mount path of the volume with the model."""
SYSTEM_PROMPT = "/etc/mistral/system-prompt"
"""Mount path of the ConfigMap with the system prompt."""
COMPILED = "compiled"
"""Directory of the claim that keeps compiled code. No model's directory has such a name: theirs
have the name of a repository, in which `--` replaces the slash."""
COMPILE_CACHE = f"/{COMPILED}"
"""Mount path of that directory. It is part of no key, so it may change."""
API_KEYS = "/etc/mistral/api-keys"
"""Mount path of the Secret with the API keys."""

ENDPOINT_REMOVAL_SECONDS = 5
"""Delay between unready and rejecting requests, in which load balancers remove the pod."""


def model_directory(model: Model) -> str:
    """Return the directory of the model within the pod."""
    source = model.source
    if source.persistent_volume_claim is not None:
        return f"{MODELS}/{source.persistent_volume_claim.path}".rstrip("/")
    if source.image is not None:
        return f"{MODELS}/{source.image.path}".rstrip("/")
    # As in the hub's cache: one directory per revision, so that two can share a claim.
    return f"{MODELS}/{model.id.replace('/', '--')}/{model.revision.replace('/', '--')}"


def keeps_compiled_code(spec: Spec) -> bool:
    """Return whether compiled code is kept on the endpoint's claim.

    Never on a claim of `model.source`: others may write to it, and could run code in the engine.
    """
    mounted = spec.model.source.is_mounted
    return spec.cache is not None and not mounted and spec.cache.compiled == "Keep"


def server_settings(spec: Spec) -> ServerSettings:
    """Return the settings of `mistral-server run`."""
    return ServerSettings(
        device=spec.device,
        port=HTTP_PORT,
        health_port=HEALTH_PORT,
        model=_model_settings(spec.model),
        engine=_engine_settings(spec),
        lifecycle=LifecycleSettings(
            startup_seconds=spec.startup_seconds,
            drain_seconds=spec.drain_seconds,
            endpoint_removal_seconds=ENDPOINT_REMOVAL_SECONDS,
        ),
        system_prompt=_system_prompt_settings(spec),
        gate=_gate_settings(spec),
        logs=_log_settings(spec),
    )


def fetch_settings(spec: Spec) -> FetchSettings | None:
    """Return the settings of `mistral-server fetch`, or None if nothing is fetched."""
    model = spec.model
    if model.source.persistent_volume_claim is not None or model.source.image is not None:
        return None
    return FetchSettings(
        repository=model.id,
        revision=model.revision,
        directory=model_directory(model),
        format=model.format,
        verify="Sizes" if spec.cache is None else spec.cache.verify,
        logs=LogSettings(format=spec.logs.format),
    )


def _model_settings(model: Model) -> ModelSettings:
    return ModelSettings(
        path=model_directory(model),
        served_name=model.name,
        id=model.id,
        format=model.format,
        random_weights=model.random_weights,
        dtype=model.dtype,
        quantization=model.quantization,
    )


def _engine_settings(spec: Spec) -> EngineSettings:
    rows = [(one, *one.setting.partition(".")) for one in FIELDS]
    values = {name: one.value(spec) for one, group, _, name in rows if group == "engine"}
    if spec.device != "cuda":
        values["gpu_memory_utilization"] = None
    return EngineSettings.model_validate(values)


def _gate_settings(spec: Spec) -> GateSettings:
    gate, loops = spec.gate, spec.loops
    return GateSettings(
        paths=(*OPEN_PATHS, *gate.paths),
        allowed_origins=tuple(gate.allowed_origins),
        max_body_bytes=quantity_bytes(gate.max_body_size),
        limits=LimitSettings.model_validate(gate.limits.model_dump()),
        api_keys=API_KEYS if gate.api_keys is not None else None,
        loops=LoopSettings(
            action="Off" if loops.action == "Disabled" else loops.action,
            repeats=loops.repeats,
            min_tokens=loops.min_tokens,
            stop_repeats=loops.stop_repeats,
            stop_min_tokens=loops.stop_min_tokens,
        ),
        strict_tools=spec.tools.strict == "Enforce",
        fit_max_tokens=gate.fit_max_tokens,
        normalize_tool_ids=gate.normalize_tool_ids,
        accept_developer=gate.accept_developer,
        honest_finish=gate.honest_finish,
    )


def _log_settings(spec: Spec) -> LogSettings:
    return LogSettings(requests=spec.logs.requests is not False, format=spec.logs.format)


def _system_prompt_settings(spec: Spec) -> SystemPromptSettings | None:
    prompt = spec.system_prompt
    if prompt.source == "Official":
        return SystemPromptSettings(path=f"{model_directory(spec.model)}/SYSTEM_PROMPT.txt")
    if prompt.source == "ConfigMap" and prompt.config_map is not None:
        return SystemPromptSettings(path=f"{SYSTEM_PROMPT}/{prompt.config_map.key}")
    return None
