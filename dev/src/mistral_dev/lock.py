"""Resolve the pinned requirements anew: `make lock`.

`uv.lock` names registry hosts, so it stays uncommitted; its exports are what is committed,
with hashes and without hosts.
"""

from __future__ import annotations

import click

from mistral_dev.paths import CHECKOUT
from mistral_dev.progress import Progress
from mistral_dev.uv import uv

_EXPORTS = {
    CHECKOUT / "dev" / "requirements" / "dev.txt": (
        *("--extra", "operator"),
        *("--extra", "server"),
        *("--group", "dev"),
    ),
    CHECKOUT / "operator" / "requirements.txt": ("--no-default-groups", "--extra", "operator"),
    CHECKOUT / "server" / "requirements.txt": ("--no-default-groups", "--extra", "server"),
}
"""Each exported file and what of the project it covers."""

_SHAPE = (
    *("--quiet", "--frozen", "--no-emit-project", "--no-header", "--no-annotate"),
    *("--format", "requirements-txt"),
)


@click.command()
def lock() -> None:
    """Resolve the newest allowed versions and write the requirements files."""
    progress = Progress()
    project = ("--project", str(CHECKOUT))
    with progress.step("resolving"):
        uv("lock", "--upgrade", "--quiet", *project)
    for path, selection in _EXPORTS.items():
        uv("export", *_SHAPE, *project, *selection, "--output-file", str(path))
        progress.line(f"wrote {path.relative_to(CHECKOUT)}")
