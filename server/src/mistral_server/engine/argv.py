"""Render the command line and the environment of ``vllm serve`` from the settings.

The supervisor calls both functions; ``tests/engine`` parses every command line with vLLM's own
parser. Pure: no file, clock or process. The command line contains no secret, because every user of
the node can read it.
"""

import json
import re
from collections.abc import Iterator, Mapping

from mistral_server.contract import (
    FLAGS,
    SERVER_TOKEN_ENV,
    EngineArgumentError,
    EngineSettings,
    ModelSettings,
    ServerSettings,
    SpeculationSettings,
    check_engine_args,
)
from mistral_server.engine.addresses import every_address
from mistral_server.errors import InvalidConfigurationError

GATE = "mistral_server.gate.Gate"
"""The middleware's import path."""

NO_MEDIA_DOMAIN = "no-remote-media.invalid"
"""A host that cannot exist (RFC 6761). For vLLM an empty allow-list means every host."""

_GIB = 1024**3

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")

_DROPPED = frozenset(
    {
        # Attack surface: endpoints that run any method, LoRA files by path, remote pickles.
        "VLLM_SERVER_DEV_MODE",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
        "VLLM_ALLOW_INSECURE_SERIALIZATION",
        "VLLM_ALLOW_LONG_MAX_MODEL_LEN",  # positions that the model was not trained on
        # A server that outlives its engine. An API server in Rust, which loads no middleware.
        "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH",
        "VLLM_USE_RUST_FRONTEND",
        "VLLM_RUST_FRONTEND_PATH",
        # User content must not be logged.
        "VLLM_DEBUG_LOG_API_SERVER_RESPONSE",
        "VLLM_TRACE_FUNCTION",
        # Kubernetes sets VLLM_PORT=tcp://... if a Service is named vllm; vLLM rejects that.
        "VLLM_PORT",
        # vLLM would require it of the canary too. The gate checks API keys.
        "VLLM_API_KEY",
        # The model is local, so the engine needs no credentials.
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
    }
)
"""Variables that are not passed to the engine."""


def engine_arguments(settings: ServerSettings) -> list[str]:
    """Return the arguments that follow ``vllm serve``.

    Raises:
        InvalidConfigurationError: an extra argument or a media domain is not allowed.
    """
    return [
        settings.model.path,
        f"--host={settings.host or every_address()}",
        f"--port={settings.port}",
        *_model(settings.model),
        *_engine(settings.engine),
        *_requests(settings.engine),
        *_serving(settings),
        *_media_domains(settings.engine),
        f"--middleware={GATE}",
        # torch.compile needs a C compiler at run time. CPUs are for tests, where it gains nothing.
        *(["--enforce-eager"] if settings.device == "cpu" else []),
        *_extra(settings.engine.extra_args),
    ]


def engine_environment(
    settings: ServerSettings, base: Mapping[str, str], token: str
) -> dict[str, str]:
    """Return the engine's environment: `base` without unsafe variables, plus required ones.

    Args:
        settings: the server's settings.
        base: the supervisor's environment.
        token: authenticates the supervisor to the gate.
    """
    kept = {name: value for name, value in base.items() if name not in _DROPPED}
    kept |= {
        SERVER_TOKEN_ENV: token,
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",  # a redirect would bypass the allow-list
        # The engine reads remote images too, whose size the gate does not see.
        "VLLM_MAX_IMAGE_PIXELS": str(settings.gate.limits.image_pixels),
        # uvicorn would take X-Forwarded-For of every client on 127.0.0.1, whatever it says, for the
        # address of the connection: that of sidecars, and of `kubectl port-forward`.
        "FORWARDED_ALLOW_IPS": "",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        # All ranks are in this pod. By default their sockets, which have no authentication, listen
        # on the pod's address; GPUs exchange data without them. `=` is NCCL's exact match.
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "=lo",
        "VLLM_HOST_IP": "127.0.0.1",
    }
    if settings.device == "cpu":
        kept |= {
            "VLLM_TARGET_DEVICE": "cpu",
            # vLLM's own binding requires a NUMA node for each rank or a list of the pod's cores.
            # A pod with two cores has neither.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
            # Some of vLLM's functions are compiled despite --enforce-eager, and the image has no
            # C++ compiler.
            "TORCHDYNAMO_DISABLE": "1",
        }
        if settings.engine.kv_cache_memory_bytes is not None:
            kept.pop("VLLM_CPU_KVCACHE_SPACE", None)  # it would override the argument
    return kept


def _model(model: ModelSettings) -> Iterator[str]:
    yield _argument("model.served_name", model.served_name)
    yield f"--tokenizer-mode={_mode(model)}"
    yield f"--config-format={_mode(model)}"
    # vLLM's other loaders were no faster, take more memory or cannot run in a pod: docs/gpu.md.
    yield f"--load-format={'dummy' if model.random_weights else _mode(model)}"
    yield _argument("model.dtype", model.dtype)
    if model.quantization is not None:
        yield _argument("model.quantization", model.quantization)


def _mode(model: ModelSettings) -> str:
    return "mistral" if model.format == "mistral" else "auto"


def _engine(engine: EngineSettings) -> Iterator[str]:
    yield _argument("engine.tensor_parallel_size", engine.tensor_parallel_size)
    yield _argument("engine.context_length", engine.context_length or "auto")
    yield _argument("engine.kv_cache_dtype", engine.kv_cache_dtype)
    optional = {
        "engine.max_sequences": engine.max_sequences,
        "engine.max_batched_tokens": engine.max_batched_tokens,
        "engine.gpu_memory_utilization": engine.gpu_memory_utilization,
        "engine.kv_cache_memory_bytes": engine.kv_cache_memory_bytes,
    }
    yield from (_argument(name, value) for name, value in optional.items() if value is not None)
    if engine.kv_offload_bytes is not None:
        yield _argument("engine.kv_offload_bytes", engine.kv_offload_bytes / _GIB)
    if engine.speculation is not None:
        yield _argument("engine.speculation", _json(_speculation(engine.speculation)))


def _speculation(speculation: SpeculationSettings) -> Mapping[str, str | int]:
    return {
        "method": "ngram",
        "num_speculative_tokens": speculation.tokens,
        "prompt_lookup_min": speculation.lookup_min,
        "prompt_lookup_max": speculation.lookup_max,
    }


def _requests(engine: EngineSettings) -> Iterator[str]:
    if engine.tools:
        yield "--tool-call-parser=mistral"
        yield "--enable-auto-tool-choice"
    yield _argument("engine.images_per_prompt", _json({"image": engine.images_per_prompt}))
    # A model's generation_config.json changes with its revision; the resource does not.
    yield "--generation-config=vllm"
    if engine.temperature is not None:
        yield _argument("engine.temperature", _json({"temperature": engine.temperature}))
    yield _argument("engine.api_servers", engine.api_servers)


def _serving(settings: ServerSettings) -> Iterator[str]:
    # vLLM's default of 0 leaves running streams open without data forever.
    yield _argument("lifecycle.drain_seconds", settings.lifecycle.drain_seconds)
    yield "--disable-uvicorn-access-log"  # the gate writes one, with durations and ids
    # vLLM's default holds 4 MB of headers for a client that has sent no key yet.
    yield f"--h11-max-incomplete-event-size={settings.gate.limits.header_bytes}"


def _media_domains(engine: EngineSettings) -> Iterator[str]:
    yield FLAGS["engine.media_domains"]
    for domain in engine.media_domains or (NO_MEDIA_DOMAIN,):
        if not _HOST.fullmatch(domain):
            raise InvalidConfigurationError(
                f"{domain!r} is not a hostname: write media domains without scheme, port or path, "
                "such as images.example.com"
            )
        yield domain


def _extra(arguments: tuple[str, ...]) -> tuple[str, ...]:
    try:
        check_engine_args(arguments)
    except EngineArgumentError as error:
        raise InvalidConfigurationError(f"engine.extra_args: {error}") from error
    return arguments


def _argument(setting: str, value: object) -> str:
    return f"{FLAGS[setting]}={value}"


def _json(value: Mapping[str, str | float]) -> str:
    return json.dumps(value, separators=(",", ":"))
