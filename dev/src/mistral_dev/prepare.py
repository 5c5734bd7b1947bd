"""Builds what tests and the demo need and what takes long, with a line for each piece."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from mistral_dev import packages, pause, tools
from mistral_dev.images import checkpoint, engine, operator_image, server_image
from mistral_dev.progress import Progress


@dataclass(frozen=True)
class Prepared:
    """Where the results are."""

    operator_image: Path
    server_image: Path
    checkpoint: Path


def everything(progress: Progress) -> Prepared:
    """Build what is missing; instant when nothing is."""
    packages.ensure(packages.NODE_PACKAGES, progress)
    tools.ensure(tools.CLUSTER_TOOLS, progress)
    pause.build(progress)
    engine.engine(progress)
    return Prepared(
        operator_image=operator_image.build(progress),
        server_image=server_image.build(progress),
        checkpoint=checkpoint.checkpoint(progress),
    )


@click.command()
def prepare() -> None:
    """Build what tests and the demo need.

    Programs, engine, images and checkpoint stay in the cache. The first time takes about half an
    hour on two cores.
    """
    progress = Progress()
    everything(progress)
    tools.ensure(tools.ALL_TOOLS, progress)
