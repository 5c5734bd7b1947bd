"""Virtual environments of programs that tests run beside ours, each from a lock of its own.

They are in the cache. The development environment does without their packages.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from mistral_dev.images import cached
from mistral_dev.images.steps import require_python, sized_step
from mistral_dev.paths import CHECKOUT_DEV, cache_dir
from mistral_dev.progress import Progress
from mistral_dev.uv import uv


@dataclass(frozen=True, slots=True)
class SeparateEnvironment:
    """An environment with a program."""

    name: str
    """Name of the program's folder below `dev`."""
    title: str
    """How progress names it."""

    @property
    def project(self) -> Path:
        """The folder with its pyproject.toml."""
        return CHECKOUT_DEV / self.name

    @property
    def requirements(self) -> Path:
        """The lock, which `make lock` writes."""
        return self.project / "requirements.txt"

    def directory(self) -> Path:
        """Return the environment's directory, making it if this is the first use.

        Raises:
            UsageError: this interpreter is not of the version that was locked.
            CommandFailedError: the download or the installation failed.
        """
        require_python()
        key = cached.key_of([sys.version, self.requirements])
        return cached.directory(cache_dir() / f"{self.name}-{key}", self._install)

    def _install(self, env: Path) -> None:
        python = str(env / "bin" / "python")
        with sized_step(Progress(), self.title, env):
            uv("venv", "--allow-existing", "--python", sys.executable, str(env))
            pip = ("pip", "install", "--python", python, "--no-deps", "--compile-bytecode")
            uv(*pip, "--require-hashes", "-r", str(self.requirements))


LITELLM = SeparateEnvironment("litellm", "LiteLLM and its packages")
"""A LiteLLM proxy, for the benchmark that sets the gate beside one. It contains none of our code,
but what the gate and the engine of the benchmark import, so that all of them run on one interpreter
and one uvicorn. It has 121 packages and takes 0.7 GB on disk."""

SCHEMATHESIS = SeparateEnvironment("schemathesis", "schemathesis and its packages")
"""Requests from an OpenAPI document, for the tests of the real engine."""

ALL = (LITELLM, SCHEMATHESIS)
