"""The key of a kept compile cache: what compiled code depends on, as a digest. Pure.

vLLM compares its own configuration, its sources and its variables with each artifact. Triton
compares the source of a kernel and the architecture. The key keeps apart what neither of them
compares, such as the driver, and bounds what a damaged artifact can affect.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from mistral_server.contract import ServerSettings

PACKAGES = ("mistral-small-operator", "vllm", "torch", "triton")
"""The packages whose versions are in the key: they stand for the image, which no process sees."""

_VARIABLES = re.compile(r"(VLLM|TORCH|TORCHINDUCTOR|TRITON|PYTORCH|CUDA|FLASHINFER)_.*")
_PLACES = re.compile(r".*_(ROOT|DIR|PATH|HOME|BASE)|CUDA_VISIBLE_DEVICES|VLLM_(PORT|HOST_IP)")
"""Variables that say where something is, and nothing of what is compiled."""

_NOT_COMPILED = {
    # Requests and HTTP, and shares of memory: remedies change these, and no graph depends on them.
    "temperature",
    "tools",
    "api_servers",
    "media_domains",
    "workarounds",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
}


def compile_key(
    settings: ServerSettings,
    environment: Mapping[str, str],
    versions: Mapping[str, str],
    gpus: Sequence[str],
) -> str:
    """Return the key of a server's compiled code.

    Args:
        settings: the server's settings.
        environment: the engine's environment.
        versions: of the installed packages, by name.
        gpus: each GPU's name, driver and compute capability.
    """
    factors = {
        "device": settings.device,
        "model": settings.model.model_dump(mode="json", exclude={"served_name", "id"}),
        "engine": settings.engine.model_dump(mode="json", exclude=_NOT_COMPILED),
        "variables": {
            name: value
            for name, value in environment.items()
            if _VARIABLES.fullmatch(name) and not _PLACES.fullmatch(name)
        },
        "versions": dict(versions),
        "gpus": sorted(gpus),
    }
    text = json.dumps(factors, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
