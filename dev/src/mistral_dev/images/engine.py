"""The virtual environment with vLLM's CPU build.

Called by ``server_image``, by ``mistral-dev images engine`` and by the tests that need vLLM on the
host: its argument parser, the supervisor, the gate in a real API server. The environment is in
the cache, keyed by all its inputs, and contains none of our own code: that comes from the working
tree by ``PYTHONPATH`` (see ``environment``), so that several trees share one
environment and a change of ours never rebuilds it.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from mistral_dev import packages
from mistral_dev.images import cached, cuda_stubs
from mistral_dev.images.steps import PYTHON, SOURCE_PACKAGES, require_python, sized_step
from mistral_dev.paths import CHECKOUT_DEV, cache_dir
from mistral_dev.progress import Progress
from mistral_dev.uv import uv

PROJECT = CHECKOUT_DEV / "engine-cpu"
"""Holds the lock of the CPU engine."""


PACKAGES = {
    "gcc": "gcc",
    "libc6-dev": "/usr/include/stdlib.h",
    "binutils": "readelf",
    "libnuma1": "/usr/lib/x86_64-linux-gnu/libnuma.so.1",  # vLLM's CPU kernels are linked to it
}
"""Debian packages to a file of each: what making and running the environment needs."""


def engine(progress: Progress | None = None) -> Path:
    """Return the environment's directory, making it if this is the first use.

    The first use downloads some 0.8 GB and takes half a minute; later ones take nothing. Its
    ``bin/vllm serve`` works on the host, and so does ``bin/python -m mistral_server`` under
    ``environment()``.

    Raises:
        UsageError: this interpreter is not of the version that was locked.
        MissingRequirementError: a compiler is missing and cannot be installed from here.
        CommandFailedError: the download or the installation failed.
    """
    require_python()
    steps = progress or Progress()
    return cached.directory(cache_dir() / f"engine-{key()}", lambda env: _install(env, steps))


def key() -> str:
    """Return the content key of the environment."""
    return cached.key_of(
        [
            sys.version,
            PROJECT / "requirements.txt",
            PROJECT / "vllm-alias" / "pyproject.toml",
            Path(cuda_stubs.__file__),
        ]
    )


def site_packages(env: Path) -> Path:
    """Return the directory that holds the environment's packages."""
    return env / "lib" / f"python{PYTHON[0]}.{PYTHON[1]}" / "site-packages"


def environment() -> dict[str, str]:
    """Return the variables for a process of the engine on the host.

    They are this process's own with the engine's ``bin`` first on ``PATH``, our source trees on
    ``PYTHONPATH`` and what the image sets too: CPU as platform, no usage report, no model hub.
    Bytecode is kept in the environment's directory, even where nothing else may write it: each of
    an engine's processes imports some five thousand modules.
    """
    sources = os.pathsep.join(str(package.parent) for package in SOURCE_PACKAGES)
    return {
        **os.environ,
        "PATH": f"{engine() / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": sources,
        "PYTHONPYCACHEPREFIX": str(engine() / "bytecode"),
        "PYTHONDONTWRITEBYTECODE": "",  # as if it were not set
        **ENGINE_VARIABLES,
    }


ENGINE_VARIABLES = {
    "VLLM_TARGET_DEVICE": "cpu",
    # Pinning threads to cores needs more cores than there are tensor-parallel ranks.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}
"""What vLLM needs to run on a CPU without a network; the same on the host and in the image."""


def _install(env: Path, progress: Progress) -> None:
    packages.ensure(PACKAGES, progress)
    python = str(env / "bin" / "python")
    with sized_step(progress, "CPU engine: vLLM and its packages", env):
        uv("venv", "--allow-existing", "--python", sys.executable, str(env))
        pip = ("pip", "install", "--python", python, "--no-deps")
        uv(*pip, "--require-hashes", "-r", str(PROJECT / "requirements.txt"))
        with tempfile.TemporaryDirectory() as scratch:  # setuptools builds inside its source
            alias = shutil.copytree(PROJECT / "vllm-alias", Path(scratch, "vllm-alias"))
            uv(*pip, "--no-build-isolation", str(alias))
        cuda_stubs.write_stubs(site_packages(env))
