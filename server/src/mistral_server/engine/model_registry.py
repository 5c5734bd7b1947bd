"""Store vLLM's information on the model's class in the image, instead of in every pod.

vLLM inspects a class in a separate process that loads torch and vLLM again: eight CPU-seconds at
the first start of a pod with an empty cache. The result is a small file below VLLM_CACHE_ROOT that
contains the hash of the class's source, so vLLM never uses a stale one. The image build stores the
file, and the supervisor copies it to vLLM's cache.
"""

import importlib
import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

LEARNED_ENV = "MISTRAL_LEARNT"
"""Variable of an image: the directory with the stored model information."""

ARCHITECTURES = ("PixtralForConditionalGeneration", "Mistral3ForConditionalGeneration")
"""vLLM's classes for the model, by format: Mistral's own, Hugging Face's."""

_FOLDER = "modelinfos"  # vllm/model_executor/models/registry.py, since 0.11

_log = logging.getLogger(__name__)


def learn(directory: Path) -> list[Path]:
    """Let vLLM inspect the model's classes and return the files that it wrote below a directory.

    Older versions of vLLM write no files.
    """
    os.environ["VLLM_CACHE_ROOT"] = str(directory)
    registry = importlib.import_module("vllm.model_executor.models").ModelRegistry
    for architecture in ARCHITECTURES:
        registry.models[architecture].inspect_model_cls()
    written = sorted((directory / _FOLDER).glob("*.json"))
    for path in written:
        path.chmod(0o644)  # vLLM writes them for its user: root here, another one in the pod
    return written


def copy_to_cache(environment: Mapping[str, str]) -> None:
    """Copy the stored model information to vLLM's cache.

    Without it vLLM inspects the class again. A failure only costs seconds, so it is only logged.

    Args:
        environment: the engine's environment.
    """
    learned, cache = environment.get(LEARNED_ENV), environment.get("VLLM_CACHE_ROOT")
    if not learned or not cache:
        return
    target = Path(cache, _FOLDER)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for source in Path(learned, _FOLDER).glob("*.json"):
            # Pods may share the cache: none may read a partial file.
            part = target / f".{source.name}.{uuid.uuid4().hex}"
            shutil.copyfile(source, part).replace(target / source.name)
    except OSError as error:
        _log.warning("Cannot use the stored model information; the start takes longer: %s", error)
