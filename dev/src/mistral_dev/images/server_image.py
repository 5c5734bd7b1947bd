"""The image of the pod: our server on vLLM's CPU build, with the tiny checkpoint.

Called by ``mistral-dev images build`` and by the tests on a cluster. Five layers, of which only
the last, our own code, changes from day to day. The image for GPUs is ``server/Dockerfile``.
"""

import fnmatch
import shutil
from pathlib import Path

from mistral_dev.commands import run
from mistral_dev.images import archives, cached, checkpoint, engine, model_info, rootfs, wheel
from mistral_dev.images.oci import ImageConfig
from mistral_dev.progress import Progress
from mistral_server.engine import model_registry

NAME = "local/mistral-small-server:dev"
MODEL = "/usr/local/share/mistral-small/tiny"
"""Path of the checkpoint in the image: not below /models, where a pod mounts its volume."""

PORTS = (8000, 8001)
"""The defaults of ``port`` and ``health_port`` in the contract."""

_LEFT_OUT = (
    "__pycache__",
    "*/__pycache__",
    "torch/include",
    "torch/share",
    "torch/test",
    "torch/bin/protoc*",
    "pycountry/locales",
    "mistral_common/data/*",  # tokenizers of other models
    "numpy/*/tests",
    "sympy/*/tests",
    "networkx/*/tests",
    "vllm/model_executor/layers/fused_moe/configs",  # tables of GPU kernels
    "vllm/kernels/helion/configs",
)
"""Of the engine's packages: what a server never opens, some 150 MB."""

_STRIPPED = ("torch/lib/libtorch_cpu.so", "torch/lib/libtorch_python.so", "vllm/*.so")
"""Libraries with debug symbols."""

LEARNED = "/usr/local/share/mistral-small/learnt"
"""Directory of the model information, as in server/Dockerfile."""

_CACHE = "/tmp/.cache"  # noqa: S108 - a directory in the container
_CONFIG = "/tmp/.config"  # noqa: S108 - a directory in the container

VARIABLES = {
    **rootfs.VARIABLES,
    **engine.ENGINE_VARIABLES,
    "XDG_CACHE_HOME": _CACHE,
    "XDG_CONFIG_HOME": _CONFIG,
    "VLLM_CACHE_ROOT": f"{_CACHE}/vllm",
    "VLLM_CONFIG_ROOT": f"{_CONFIG}/vllm",
    model_registry.LEARNED_ENV: LEARNED,
    "HF_HOME": f"{_CACHE}/huggingface",
    "TORCHINDUCTOR_CACHE_DIR": f"{_CACHE}/inductor",
    "USER": "nonroot",  # torch needs a user name, and a cluster may use any user id
    "LOGNAME": "nonroot",
}


def build(progress: Progress) -> Path:
    """Return the archive of the image, building layers that are not cached.

    From nothing it takes some minutes; after a change of our own code, seconds.
    """
    environment = engine.engine(progress)
    layers = [
        rootfs.base_layer(progress),
        rootfs.layer(
            "engine",
            [engine.key(), *_LEFT_OUT, *_STRIPPED],
            "layer: vLLM for the CPU",
            lambda tree: _fill_engine(tree, environment),
            progress,
        ),
        _copied_layer("learnt", model_info.model_info(progress), LEARNED, progress),
        _copied_layer("checkpoint", checkpoint.checkpoint(progress), MODEL, progress),
        wheel.own_layer("mistral-server", progress),
    ]
    config = ImageConfig(
        entrypoint=["mistral-server"],
        user=rootfs.USER,
        env=VARIABLES,
        workdir="/tmp",  # noqa: S108 - a directory in the container
        ports=PORTS,
    )
    return archives.archive(NAME, layers, config, progress)


def _fill_engine(tree: Path, environment: Path) -> None:
    target = tree / rootfs.SITE_PACKAGES
    source = engine.site_packages(environment)
    shutil.copytree(source, target, ignore=lambda folder, names: ignored(source, folder, names))
    stripped = [path for pattern in _STRIPPED for path in sorted(target.glob(pattern))]
    run(["strip", "--strip-unneeded", *stripped])
    rootfs.write_program(tree, "vllm", "vllm.entrypoints.cli.main", "main")


def ignored(source: Path, folder: str, names: list[str]) -> set[str]:
    """Return the ``names`` in ``folder`` that are left out, for ``shutil.copytree``."""
    path = Path(folder).relative_to(source)
    return {
        name
        for name in names
        if any(fnmatch.fnmatch((path / name).as_posix(), pattern) for pattern in _LEFT_OUT)
    }


def _copied_layer(name: str, made: Path, path: str, progress: Progress) -> Path:
    """Return the layer that holds a directory of the cache at a place of the image."""

    def fill(tree: Path) -> None:
        ignore = shutil.ignore_patterns(cached.MARKER)
        shutil.copytree(made, tree / path.lstrip("/"), ignore=ignore)

    return rootfs.layer(name, [made.name, path], f"layer: {name}", fill, progress)
