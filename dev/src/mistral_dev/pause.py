"""Build the pause image, the first container of every pod; imported by `node`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from importlib import resources
from pathlib import Path

from mistral_dev import packages
from mistral_dev.commands import run
from mistral_dev.images.oci import ImageConfig, write_archive
from mistral_dev.paths import cache_dir
from mistral_dev.progress import Progress

IMAGE = "mistral-dev.local/pause:1"
"""The name ends in .local so that it is not mistaken for a registry's."""

_USER = "65535:65535"


def build(progress: Progress) -> Path:
    """Return the archive of the pause image, building it in under 1 s when the cache lacks it.

    Raises:
        MissingRequirementError: there is no C compiler, and none can be installed from here.
    """
    source = resources.files("mistral_dev").joinpath("templates/pause.c").read_text()
    key = hashlib.sha256(source.encode()).hexdigest()[:8]
    archive = cache_dir() / "images" / f"pause-{key}.tar"
    if archive.exists():
        return archive
    packages.ensure(packages.PAUSE_PACKAGES, progress)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with progress.step("pause image"), tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        (Path(folder) / "pause.c").write_text(source)
        run(["gcc", "-static", "-Os", "-s", "-o", root / "pause", Path(folder) / "pause.c"])
        layer = Path(folder) / "layer.tar"
        owner = ("--numeric-owner", "--owner=0", "--group=0", "--mtime=@0")
        run(["tar", *owner, "-C", root, "-cf", layer, "pause"])
        temporary = archive.with_name(f".{archive.name}.{os.getpid()}")
        config = ImageConfig(entrypoint=("/pause",), user=_USER)
        write_archive(temporary, IMAGE, [layer], config)
        temporary.replace(archive)
    return archive
