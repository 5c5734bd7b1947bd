"""Run uv, installed by hash into the cache directory.

Called by ``mistral_dev.images``. Nothing but CPython's own venv and pip is needed on the machine:
pip installs the one wheel that ``dev/requirements/uv.txt`` pins, once for each version.
"""

import re
import sys
from pathlib import Path

from mistral_dev.commands import run
from mistral_dev.errors import UsageError
from mistral_dev.images import cached
from mistral_dev.paths import CHECKOUT_DEV, cache_dir

PINS = CHECKOUT_DEV / "requirements" / "uv.txt"

SECONDS = 1800.0
"""For one command: the engine's 0.8 GB took 30 s here, and 30 minutes are 4 Mbit/s."""


def uv(*args: str) -> str:
    """Run ``uv ARGS`` with its cache below ours and return its output.

    Raises:
        CommandFailedError: uv, or the pip that installs it, ended with an error.
    """
    env = {
        "UV_CACHE_DIR": str(cache_dir() / "uv"),
        "UV_PYTHON_DOWNLOADS": "never",  # a build uses the interpreter that runs it
        "UV_NO_PROGRESS": "1",
    }
    return run([executable(), *args], env=env, seconds=SECONDS)


def executable() -> Path:
    """Return the path of the pinned uv, installing it if this is the first use."""
    version = re.match(r"uv==(\S+)", PINS.read_text())
    if version is None:
        raise UsageError(f"{PINS}: the first line must pin uv, for example `uv==0.13.9 \\`.")
    return cached.directory(cache_dir() / f"uv-{version[1]}", _install) / "bin" / "uv"


def _install(home: Path) -> None:
    run([sys.executable, "-m", "venv", home])
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    run([*pip, "--require-hashes", "--no-deps", "--only-binary=:all:", "-r", PINS])
