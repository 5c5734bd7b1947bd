"""The commands below ``mistral_dev gpu``, and of ``python -m mistral_dev.gpu`` on the machine."""

import shutil
import sys
import tempfile
from pathlib import Path

import click

from mistral_dev.lab.cli import pack, unpack


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def gpu() -> None:
    """Test the server on real GPUs: docs/gpu.md."""


for _command in (pack, unpack):
    gpu.add_command(_command)


@gpu.command("list")
def list_scenarios() -> None:
    """List the scenarios by importance."""
    from mistral_dev.gpu.choice import chosen
    from mistral_dev.gpu.scenarios import ALL

    for one in chosen(ALL, (), cpu=False):
        parts = " ".join(step.name for step in one.steps)
        click.echo(f"{one.priority:>3} {one.name:<20}{one.gpus} GPU {one.seconds:>4.0f} s  {parts}")


@gpu.command()
@click.argument("patterns", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="For results.")
@click.option("--seconds", default=3600.0, show_default=True, help="Time limit of the whole run.")
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
    """Run scenarios: all, or those that match PATTERNS."""
    from mistral_dev.gpu import machine
    from mistral_dev.gpu.machine import Selection

    work = Path(tempfile.mkdtemp(prefix="mistral-gpu-"))
    rig = machine.tiny(work, lanes) if tiny else machine.full(work, python, site)
    if rig is None:
        click.echo(f"SKIP: {machine.NO_GPU}")
        return
    try:
        failed = machine.prove(rig, Selection(patterns, except_done_in), seconds, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(1 if failed else 0)
