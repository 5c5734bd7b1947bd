"""Our own distribution as the top layer of an image.

Called by ``server_image`` and ``operator_image``. The layer is unpacked from the wheel that
hatchling builds, the same that ``pip install`` would get, so that a file which the wheel lacks is
missed here too. Building and packing it takes a second.
"""

import importlib.metadata
import sys
import tempfile
import zipfile
from pathlib import Path

from mistral_dev.commands import run
from mistral_dev.images import rootfs
from mistral_dev.images.steps import SOURCE_PACKAGES
from mistral_dev.paths import CHECKOUT
from mistral_dev.progress import Progress

DISTRIBUTION = "mistral_small_operator"
"""The name of the distribution in file names."""


def own_layer(program: str, progress: Progress) -> Path:
    """Return the layer with our packages and the one ``program`` that the image is for."""
    key: list[str | bytes | Path] = [
        program,
        CHECKOUT / "pyproject.toml",
        CHECKOUT / "README.md",
        *SOURCE_PACKAGES,
    ]
    return rootfs.layer(
        f"own-{program}",
        key,
        f"layer: {program}",
        lambda tree: _fill(tree, program),
        progress,
    )


def build(folder: Path) -> Path:
    """Build the wheel of the working tree into ``folder`` and return its path."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    run(command, cwd=CHECKOUT)
    (built,) = folder.glob(f"{DISTRIBUTION}-*.whl")
    return built


def _fill(tree: Path, program: str) -> None:
    site_packages = tree / rootfs.SITE_PACKAGES
    site_packages.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(build(Path(scratch))) as wheel:
        wheel.extractall(site_packages)
    (info,) = site_packages.glob(f"{DISTRIBUTION}-*.dist-info")
    (entry,) = importlib.metadata.Distribution.at(info).entry_points.select(
        group="console_scripts", name=program
    )
    rootfs.write_program(tree, program, entry.module, entry.attr)
