"""The commands `tools ...` and `cluster ...`; hung into the command line by `cli`."""

from __future__ import annotations

import os
import shlex

import click

from mistral_dev import tools as toolsets
from mistral_dev.cluster import Cluster
from mistral_dev.control_plane import PARTS
from mistral_dev.errors import UsageError
from mistral_dev.network import namespace_path
from mistral_dev.progress import Progress
from mistral_dev.settings import Profile

NAME = click.option("--name", default="dev", show_default=True, help="Which cluster.")


@click.group()
def tools() -> None:
    """Programs that clusters and tests run."""


@tools.command("build")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def build_tools(names: tuple[str, ...]) -> None:
    """Build programs from source: all, or each NAME.

    From nothing that takes about 25 minutes on two cores, 9 of them for KEDA alone; what is built
    stays in the cache.
    """
    progress = Progress()
    requested = names or toolsets.ALL_TOOLS
    present = [name for name in requested if toolsets.program(name).exists()]
    for name in present:
        progress.line(toolsets.cached_line(name))
    toolsets.ensure((name for name in requested if name not in present), progress)


@click.group()
def cluster() -> None:
    """A Kubernetes cluster that only this machine reaches."""


@cluster.command()
@NAME
@click.option(
    "--profile",
    type=click.Choice([str(profile) for profile in Profile]),
    help="With a real node, or a control plane with fake nodes.  [default: as it was created, or"
    " node]",
)
@click.option("--gpus", type=click.IntRange(min=0), help="GPUs that the node pretends to have.")
@click.option("--fake-nodes", type=click.IntRange(min=1), help="Add nodes with 8 GPUs each.")
def up(name: str, profile: str | None, gpus: int | None, fake_nodes: int | None) -> None:
    """Start the cluster, or what of it does not run."""
    local = Cluster(name, profile)
    local.up()
    if gpus is not None:
        local.patch_gpus(gpus)
    if fake_nodes is not None:
        local.add_fake_nodes(fake_nodes)
    click.echo(f"export KUBECONFIG={shlex.quote(str(local.kubeconfig))}")


@cluster.command()
@NAME
@click.option("--wipe", is_flag=True, help="Also delete its objects and images.")
def down(name: str, *, wipe: bool) -> None:
    """Stop the cluster and all its processes."""
    Cluster(name).down(wipe=wipe)


@cluster.command()
@NAME
@click.pass_context
def status(context: click.Context, name: str) -> None:
    """Show which parts run. Exits with 1 if the cluster is not up."""
    local = Cluster(name)
    ready = local.is_up()
    rows = [(name, "up" if ready else "not up", str(local.layout.root))]
    if local.exists():
        rows.append(("API server", str(local.profile), local.api_url))
    running = local.processes.running()
    rows.extend(
        (part, "runs" if part in running else "-", str(local.processes.log(part)))
        for part in sorted({*PARTS, *running})
    )
    for row in rows:
        click.echo("{:<26}{:<15}{}".format(*row))
    if not ready:
        context.exit(1)


@cluster.command(context_settings={"ignore_unknown_options": True})
@NAME
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in the network of the pods.

    kubectl, helm and ctr are set up for the cluster.
    """
    local = _running(name)
    toolsets.ensure({command[0]} & {*toolsets.ALL_TOOLS})
    environment = {**os.environ, **local.environment()}
    argv = local.inside(command)
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - this process becomes the command


@cluster.command()
@NAME
def env(name: str) -> None:
    """Print variables for `eval` in a shell."""
    for variable, value in _running(name).environment().items():
        click.echo(f"export {variable}={shlex.quote(value)}")


def _running(name: str) -> Cluster:
    local = Cluster(name)
    if not local.exists() or (local.netns and not namespace_path(local.netns).exists()):
        raise UsageError(
            f"The cluster {name} does not run. "
            f"Start it with `python -m mistral_dev cluster up --name {name}`."
        )
    return local
