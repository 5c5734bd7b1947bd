"""The commands ``pack`` and ``unpack``; ``mistral_dev.gpu.cli`` adds them to its own."""

from pathlib import Path

import click


@click.command()
@click.option("--output", type=click.Path(path_type=Path), help="Default: gpu-pieces in the cache.")
def pack(output: Path | None) -> None:
    """Pack vLLM and torch for CUDA.

    They are for a machine without a package index.
    """
    from mistral_dev.lab import pack as packing
    from mistral_dev.progress import Progress

    for folder in packing.pack(output, Progress()):
        click.echo(folder)


@click.command()
@click.argument("arrived", type=click.Path(path_type=Path, exists=True))
@click.argument("home", type=click.Path(path_type=Path))
def unpack(arrived: Path, home: Path) -> None:
    """Unpack the pieces in ARRIVED to HOME/site.

    Does so once all pieces are there.
    """
    from mistral_dev.lab import unpack as unpacking

    missing = unpacking.unpack(arrived, home)
    click.echo(f"missing: {', '.join(missing)}" if missing else f"unpacked to {home / 'site'}")
