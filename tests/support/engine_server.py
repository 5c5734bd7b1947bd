"""Servers with the real vLLM and the tiny checkpoint, on this host."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mistral_dev.images import checkpoint, engine, model_info
from mistral_server.contract import (
    EngineSettings,
    LifecycleSettings,
    ModelSettings,
    ServerSettings,
    SystemPromptSettings,
)
from mistral_server.engine import model_registry
from server_runner import RunningServer, own_place, running

BOOT_SECONDS = 300.0
"""Five times what a start takes on an idle machine of two cores."""

TAPPED = str(Path(__file__).with_name("tapped"))
"""Holds the program `engine_tap`."""

UNCOMPILED = str(Path(__file__).with_name("uncompiled"))
"""Holds what n-grams need of numba."""

PROMPT = "You are {name}. Today is {today}."

StartServer = Callable[..., RunningServer]


def engine_settings(directory: Path, **changes: Any) -> ServerSettings:
    """Return settings for a small server of the tiny checkpoint."""
    prompt = directory / "SYSTEM_PROMPT.txt"
    prompt.write_text(PROMPT)
    values = {
        **own_place(directory),
        "model": ModelSettings(path=str(checkpoint.checkpoint()), served_name="tiny", id="tiny"),
        "engine": EngineSettings(
            tensor_parallel_size=1,
            context_length=2048,
            max_sequences=8,
            kv_cache_memory_bytes=64 * 1024 * 1024,
            images_per_prompt=2,
            temperature=0.15,
        ),
        "lifecycle": LifecycleSettings(
            startup_seconds=int(BOOT_SECONDS),
            drain_seconds=30,
            endpoint_removal_seconds=1,
            stall_seconds=8,  # the engine is polled every two seconds
        ),
        "system_prompt": SystemPromptSettings(path=str(prompt)),
    }
    return ServerSettings.model_validate(values | changes)


def server_at(
    directory: Path,
    program: str = "mistral_server",
    packages: tuple[str, ...] = (TAPPED,),
    **changes: Any,
) -> AbstractContextManager[RunningServer]:
    """Return a server below a directory, with a cache of its own.

    Args:
        directory: for its files.
        program: module that runs it.
        packages: folders with further modules of the engine.
        changes: of its settings.
    """
    python = str(engine.engine() / "bin" / "python")
    environment = {
        **engine.environment(),
        "PYTHONPATH": os.pathsep.join([engine.environment()["PYTHONPATH"], *packages]),
        model_registry.LEARNED_ENV: str(marked_model_info(directory)),
        "VLLM_CACHE_ROOT": str(directory / "cache"),
    }
    settings = engine_settings(directory, **changes)
    return running(settings, environment, directory, python, program)


def marked_model_info(directory: Path) -> Path:
    """Return a copy of what an image learns, marked as one that vLLM has not written itself."""
    copy = Path(shutil.copytree(model_info.model_info(), directory / "learnt"))
    for path in copy.rglob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"mark": "learnt"}))
    return copy
