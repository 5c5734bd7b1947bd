"""What vLLM has to find out about the model's class, found out once for all development servers.

Called by ``server_image`` and by the tests of the engine. ``server/Dockerfile`` does the same.
"""

from pathlib import Path

from mistral_dev.commands import run
from mistral_dev.images import cached, engine
from mistral_dev.images.steps import sized_step
from mistral_dev.paths import cache_dir
from mistral_dev.progress import Progress
from mistral_server.engine import model_registry

SECONDS = 600.0
"""For three processes that load vLLM; a minute where their bytecode is not there yet."""


def model_info(progress: Progress | None = None) -> Path:
    """Return the directory that `model_registry.learn` filled, making it at its first use."""
    python = engine.engine(progress) / "bin" / "python"
    key = cached.key_of([engine.key(), Path(model_registry.__file__)])

    def make(folder: Path) -> None:
        with sized_step(progress or Progress(), "what vLLM asks about the model's class", folder):
            command = [str(python), "-m", "mistral_server", "learn-model", str(folder)]
            run(command, env=engine.environment(), seconds=SECONDS)

    return cached.directory(cache_dir() / f"learnt-{key}", make)
