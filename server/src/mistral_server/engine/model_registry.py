"""What vLLM wants to know of the model's class, learnt with the image instead of by every pod.

vLLM asks a process of its own what a class can do, and that process loads torch and vLLM once more:
eight CPU-seconds at the first start of a pod with an empty cache. The answer is a small file below
VLLM_CACHE_ROOT that names the hash of the class's source, so a stale one is never used. An image
learns it when it is built, and the supervisor lays it where vLLM looks.
"""

import importlib
import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

LEARNED_ENV = "MISTRAL_LEARNT"
"""Variable of an image: the directory with what was learnt when it was built."""

ARCHITECTURES = ("PixtralForConditionalGeneration", "Mistral3ForConditionalGeneration")
"""vLLM's classes for the model, by format: Mistral's own, Hugging Face's."""

_FOLDER = "modelinfos"  # vllm/model_executor/models/registry.py, since 0.11

_log = logging.getLogger(__name__)


def learn(directory: Path) -> list[Path]:
    """Ask vLLM about the model's classes; return the files that it wrote below a directory.

    Older versions of vLLM keep nothing, and then there is none.
    """
    os.environ["VLLM_CACHE_ROOT"] = str(directory)
    registry = importlib.import_module("vllm.model_executor.models").ModelRegistry
    for architecture in ARCHITECTURES:
        registry.models[architecture].inspect_model_cls()
    written = sorted((directory / _FOLDER).glob("*.json"))
    for path in written:
        path.chmod(0o644)  # vLLM writes for itself, which is root here and is not in the pod
    return written


def copy_to_cache(environment: Mapping[str, str]) -> None:
    """Copy what the image learnt into vLLM's cache.

    Without it vLLM asks again: whatever goes wrong here costs seconds, so it is only logged.

    Args:
        environment: the engine's.
    """
    learned, cache = environment.get(LEARNED_ENV), environment.get("VLLM_CACHE_ROOT")
    if not learned or not cache:
        return
    target = Path(cache, _FOLDER)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for source in Path(learned, _FOLDER).glob("*.json"):
            # Pods may share the cache: none must read half a file.
            part = target / f".{source.name}.{uuid.uuid4().hex}"
            shutil.copyfile(source, part).replace(target / source.name)
    except OSError as error:
        _log.warning("Cannot use the stored model information; the start takes longer: %s", error)
