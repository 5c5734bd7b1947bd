"""Resolve the pinned requirements anew: `make lock`.

`uv.lock` names registry hosts, so it stays uncommitted; its exports are what is committed,
with hashes and without hosts.
"""

from __future__ import annotations

from pathlib import Path

import click

from mistral_dev.paths import CHECKOUT
from mistral_dev.progress import Progress
from mistral_dev.separate_environments import ALL
from mistral_dev.uv import uv

_EXPORTS: dict[Path, dict[Path, tuple[str, ...]]] = {
    CHECKOUT: {
        CHECKOUT / "dev" / "requirements" / "dev.txt": (
            *("--extra", "operator"),
            *("--extra", "server"),
            *("--group", "dev"),
        ),
        CHECKOUT / "operator" / "requirements.txt": ("--no-default-groups", "--extra", "operator"),
        CHECKOUT / "server" / "requirements.txt": ("--no-default-groups", "--extra", "server"),
    },
    **{one.project: {one.requirements: ()} for one in ALL},
}
"""Of each project that is resolved: each exported file and what of the project it covers."""

_SHAPE = (
    *("--quiet", "--frozen", "--no-emit-project", "--no-header", "--no-annotate"),
    *("--format", "requirements-txt"),
)


@click.command()
def lock() -> None:
    """Resolve and pin the newest allowed versions."""
    progress = Progress()
    for directory, exports in _EXPORTS.items():
        project = ("--project", str(directory))
        with progress.step(f"resolving {(directory / 'pyproject.toml').relative_to(CHECKOUT)}"):
            uv("lock", "--upgrade", "--quiet", *project)
        for path, selection in exports.items():
            uv("export", *_SHAPE, *project, *selection, "--output-file", str(path))
            progress.line(f"wrote {path.relative_to(CHECKOUT)}")
