"""Image archives in the cache: written once for each content, and only the newest kept.

Called by ``server_image``, ``operator_image`` and ``cli``.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

from mistral_dev.images import cached, oci
from mistral_dev.images.steps import sized_step
from mistral_dev.paths import cache_dir
from mistral_dev.progress import Progress

KEPT = 2
"""Archives of one image: the newest, and the one that a cluster may be importing right now."""


def folder() -> Path:
    """Return the directory of all archives."""
    return cache_dir() / "images"


def archive(name: str, layers: Sequence[Path], config: oci.ImageConfig, progress: Progress) -> Path:
    """Return the archive of an image, writing it if its layers or its configuration are new.

    Args:
        name: ``repository:tag``; the last part of the repository names the file.
        layers: as ``rootfs.layer`` returns them: the directory's name holds the content key.
        config: how a container starts.
        progress: gets one line if the archive is new.
    """
    decides = json.dumps(dataclasses.asdict(config), sort_keys=True)
    key = cached.key_of([name, decides, *(layer.parent.name for layer in layers)])
    out = folder() / f"{_stem(name)}-{key}.tar"

    def write(part: Path) -> None:
        with sized_step(progress, f"image: {name}", part):
            oci.write_archive(part, name, layers, config)

    made = cached.file(out, write)
    others = [path for path in existing(name) if path != made]
    for old in others[KEPT - 1 :]:
        old.unlink()
    return made


def existing(name: str) -> list[Path]:
    """Return the archives of one image, the most recently written first."""
    pattern = re.compile(rf"{re.escape(_stem(name))}-[0-9a-f]{{{cached.KEY_LENGTH}}}\.tar")
    paths = [path for path in folder().glob("*.tar") if pattern.fullmatch(path.name)]
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)


def _stem(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]
