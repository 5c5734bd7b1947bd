"""The key of compiled code: what changes it, and what does not."""

from pathlib import Path
from typing import Any

import pytest

from mistral_server.contract import (
    EngineSettings,
    GateSettings,
    LifecycleSettings,
    ModelSettings,
    ServerSettings,
)
from mistral_server.engine.compile_key import compile_key

MODEL = ModelSettings(path="/models/m/main", served_name="small", id="m")
SETTINGS = ServerSettings(model=MODEL)
VERSIONS = {"vllm": "0.32.0", "torch": "2.13.0"}
H200 = "NVIDIA H200, 580.159.04, 9.0"


def key(
    settings: ServerSettings = SETTINGS,
    environment: dict[str, str] | None = None,
    versions: dict[str, str] = VERSIONS,
    gpus: tuple[str, ...] = (H200, H200),
) -> str:
    """Return a key."""
    return compile_key(settings, environment or {}, versions, gpus)


def engine(**values: Any) -> ServerSettings:
    """Return settings with these of the engine."""
    return ServerSettings(model=MODEL, engine=EngineSettings(**values))


DIFFERENT = {
    "a version of vLLM": key(versions=VERSIONS | {"vllm": "0.33.0"}),
    "a version of torch": key(versions=VERSIONS | {"torch": "2.14.0"}),
    "a driver": key(gpus=(H200.replace("580", "590"),) * 2),
    "a GPU": key(gpus=("NVIDIA H100 80GB HBM3, 580.159.04, 9.0",) * 2),
    "a number of GPUs": key(gpus=(H200,)),
    "ranks": key(engine(tensor_parallel_size=4)),
    "an argument": key(engine(extra_args=("--enable-lora",))),
    "the context": key(engine(context_length=8192)),
    "the type of the cache": key(engine(kv_cache_dtype="fp8")),
    "the path of the model": key(
        ServerSettings(model=MODEL.model_copy(update={"path": "/models/m/v2"}))
    ),
    "the quantization": key(ServerSettings(model=MODEL.model_copy(update={"quantization": "fp8"}))),
    "a variable of vLLM": key(environment={"VLLM_FLASH_ATTN_VERSION": "2"}),
    "a variable of torch": key(environment={"TORCHINDUCTOR_MAX_AUTOTUNE": "1"}),
}

SAME = {
    "the name that clients send": key(
        ServerSettings(model=MODEL.model_copy(update={"served_name": "large"}))
    ),
    "the temperature": key(engine(temperature=0.15)),
    "the share of the GPU": key(engine(gpu_memory_utilization=0.8)),
    "the KV cache": key(engine(kv_cache_memory_bytes=2**30)),
    "processes of the API": key(engine(api_servers=2)),
    "a time": key(ServerSettings(model=MODEL, lifecycle=LifecycleSettings(drain_seconds=1))),
    "a limit of the gate": key(
        ServerSettings(model=MODEL, gate=GateSettings(fit_max_tokens=False))
    ),
    "the port": key(ServerSettings(model=MODEL, port=9000)),
    "where caches are": key(
        environment={"VLLM_CACHE_ROOT": "/tmp/x", "TRITON_CACHE_DIR": str(Path("/tmp/y"))}
    ),
    "which GPUs of the node": key(environment={"CUDA_VISIBLE_DEVICES": "6,7"}),
    "a variable of the pod": key(environment={"HOSTNAME": "small-1", "NCCL_DEBUG": "INFO"}),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_another_one_has_another_key(what: str) -> None:
    assert DIFFERENT[what] != key()


def test_all_keys_differ() -> None:
    assert len({*DIFFERENT.values()}) == len(DIFFERENT)


@pytest.mark.parametrize("what", SAME)
def test_nothing_that_is_compiled_depends_on(what: str) -> None:
    assert SAME[what] == key()


def test_the_order_of_the_gpus_does_not_matter() -> None:
    other = "NVIDIA H100 80GB HBM3, 580.159.04, 9.0"

    assert key(gpus=(H200, other)) == key(gpus=(other, H200))
