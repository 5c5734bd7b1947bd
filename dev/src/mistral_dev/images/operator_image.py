"""The image of the operator, for the local cluster.

Called by ``mistral-dev images build`` and by the tests on a cluster. Its lowest layer is the
server image's. The published image is built from ``operator/Dockerfile``.
"""

import sys
from pathlib import Path

from mistral_dev.images import archives, rootfs, wheel
from mistral_dev.images.oci import ImageConfig
from mistral_dev.images.steps import PYTHON
from mistral_dev.paths import CHECKOUT
from mistral_dev.progress import Progress
from mistral_dev.uv import uv

NAME = "local/mistral-small-operator:dev"
REQUIREMENTS = CHECKOUT / "operator" / "requirements.txt"
PLATFORM = "x86_64-manylinux_2_28"
"""What Debian 12 can load (its glibc is 2.36)."""


def build(progress: Progress) -> Path:
    """Return the archive of the image, building layers that are not cached."""
    layers = [
        rootfs.base_layer(progress),
        rootfs.layer(
            "operator-packages",
            [PLATFORM, REQUIREMENTS],
            "layer: the operator's packages",
            _fill_packages,
            progress,
        ),
        wheel.own_layer("mistral-operator", progress),
    ]
    config = ImageConfig(
        entrypoint=["mistral-operator"], user=rootfs.USER, env=rootfs.VARIABLES, ports=(8080,)
    )
    return archives.archive(NAME, layers, config, progress)


def _fill_packages(tree: Path) -> None:
    target = tree / rootfs.SITE_PACKAGES
    version = ".".join(str(part) for part in PYTHON)
    command = ["pip", "install", "--python", sys.executable, "--target", str(target)]
    command += ["--python-version", version, "--python-platform", PLATFORM]
    uv(*command, "--only-binary=:all:", "--no-deps", "--require-hashes", "-r", str(REQUIREMENTS))
    for leftover in (target / "bin", target / ".lock"):
        if leftover.is_dir():
            for program in leftover.iterdir():
                program.unlink()
            leftover.rmdir()
        else:
            leftover.unlink(missing_ok=True)
