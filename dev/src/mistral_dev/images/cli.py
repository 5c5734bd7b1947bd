"""The commands below ``mistral-dev images``; ``mistral_dev.cli`` adds the group to its own."""

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from mistral_dev.images import archives, checkpoint, engine, operator_image, server_image
from mistral_dev.images.steps import size_of
from mistral_dev.progress import Progress

IMAGES: dict[str, tuple[str, Callable[[Progress], Path]]] = {
    "operator": (operator_image.NAME, operator_image.build),
    "server": (server_image.NAME, server_image.build),
}
"""Short name to the image's name and what makes it."""


@click.group()
def images() -> None:
    """Images and the CPU engine of local clusters."""


@images.command()
@click.argument("which", nargs=-1, type=click.Choice(sorted(IMAGES)))
def build(which: Sequence[str]) -> None:
    """Build all images, or those that are named.

    Prints the paths of their archives.
    """
    progress = Progress()
    for short in which or sorted(IMAGES):
        _, make = IMAGES[short]
        click.echo(make(progress))


@images.command("list")
def list_images() -> None:
    """List the archives in the cache.

    The newest archive of each image comes first.
    """
    for name, _ in IMAGES.values():
        for path in archives.existing(name):
            written = datetime.datetime.fromtimestamp(path.stat().st_mtime).astimezone()
            click.echo(f"{name}  {size_of(path) / 1e6:7.1f} MB  {written:%Y-%m-%d %H:%M}  {path}")


@images.command("engine")
def show_engine() -> None:
    """Build the environment of vLLM for CPUs.

    Prints its path.
    """
    click.echo(engine.engine(Progress()))


@images.command("checkpoint")
def show_checkpoint() -> None:
    """Create the tiny checkpoint; print its path."""
    click.echo(checkpoint.checkpoint(Progress()))
