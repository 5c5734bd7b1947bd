"""The commands below ``mistral_dev gpu``, and of ``python -m mistral_dev.gpu`` on the machine."""

import shutil
import sys
import tempfile
from pathlib import Path

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def gpu() -> None:
    """Prove the server on real GPUs; see docs/gpu.md."""


@gpu.command()
@click.option("--output", type=click.Path(path_type=Path), help="Default: gpu-pieces in the cache.")
def pack(output: Path | None) -> None:
    """Pack vLLM and torch for CUDA, for a machine without a package index."""
    from mistral_dev.gpu import pack as packing
    from mistral_dev.progress import Progress

    for folder in packing.pack(output, Progress()):
        click.echo(folder)


@gpu.command()
@click.argument("arrived", type=click.Path(path_type=Path, exists=True))
@click.argument("home", type=click.Path(path_type=Path))
def unpack(arrived: Path, home: Path) -> None:
    """Take pieces from ARRIVED; once all are there, put them together in HOME/site."""
    from mistral_dev.gpu import unpack as unpacking

    missing = unpacking.unpack(arrived, home)
    click.echo(f"missing: {', '.join(missing)}" if missing else f"unpacked to {home / 'site'}")


@gpu.command("list")
def list_scenarios() -> None:
    """List the scenarios, the most important first."""
    from mistral_dev.gpu.choice import chosen
    from mistral_dev.gpu.scenarios import ALL

    for one in chosen(ALL, (), cpu=False):
        parts = " ".join(step.name for step in one.steps)
        click.echo(f"{one.priority:>3} {one.name:<20}{one.gpus} GPU {one.seconds:>4.0f} s  {parts}")


@gpu.command()
@click.argument("patterns", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="For the results.")
@click.option("--seconds", default=3600.0, show_default=True, help="All is over after these.")
@click.option("--python", default=sys.executable, help="Interpreter that has vLLM.")
@click.option("--site", help="Directory with vLLM's packages, if they are not in --python's own.")
@click.option(
    "--except-done-in",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The --out of an earlier run, whose scenarios are left out.",
)
@click.option("--tiny", is_flag=True, help="The tiny model on CPUs, to try the scenarios.")
@click.option("--lanes", default=1, show_default=True, help="With --tiny: scenarios at a time.")
def run(
    patterns: tuple[str, ...],
    out: Path,
    seconds: float,
    python: str,
    site: str | None,
    except_done_in: tuple[Path, ...],
    *,
    tiny: bool,
    lanes: int,
) -> None:
    """Run the scenarios whose names match one of PATTERNS, all of them by default."""
    from mistral_dev.gpu import machine
    from mistral_dev.gpu.machine import Wanted

    work = Path(tempfile.mkdtemp(prefix="mistral-gpu-"))
    rig = machine.tiny(work, lanes) if tiny else machine.full(work, python, site)
    if rig is None:
        click.echo(f"SKIP: {machine.NO_GPU}")
        return
    try:
        failed = machine.prove(rig, Wanted(patterns, except_done_in), seconds, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(1 if failed else 0)
