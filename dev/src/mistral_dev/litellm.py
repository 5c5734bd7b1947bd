"""The virtual environment with a LiteLLM proxy, for the benchmark that sets the gate beside one.

Called by ``tests/bench/test_litellm.py`` alone: no other test and no command creates it. It is in
the cache and contains none of our code, but what the gate and the engine of the benchmark import,
so that all of them run on one interpreter and one uvicorn.
"""

import sys
from pathlib import Path

from mistral_dev.images import cached
from mistral_dev.images.steps import require_python, sized_step
from mistral_dev.paths import CHECKOUT_DEV, cache_dir
from mistral_dev.progress import Progress
from mistral_dev.uv import uv

PROJECT = CHECKOUT_DEV / "litellm"

REQUIREMENTS = PROJECT / "requirements.txt"
"""The lock, which `make lock` writes."""


def environment() -> Path:
    """Return the environment's directory, making it if this is the first use.

    It has 121 packages and takes 0.7 GB on disk.

    Raises:
        UsageError: this interpreter is not of the version that was locked.
        CommandFailedError: the download or the installation failed.
    """
    require_python()
    key = cached.key_of([sys.version, REQUIREMENTS])
    return cached.directory(cache_dir() / f"litellm-{key}", _install)


def _install(env: Path) -> None:
    python = str(env / "bin" / "python")
    with sized_step(Progress(), "LiteLLM and its packages", env):
        uv("venv", "--allow-existing", "--python", sys.executable, str(env))
        pip = ("pip", "install", "--python", python, "--no-deps", "--compile-bytecode")
        uv(*pip, "--require-hashes", "-r", str(REQUIREMENTS))
