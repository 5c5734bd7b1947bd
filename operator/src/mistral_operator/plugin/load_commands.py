"""The commands `kubectl msd top` and `kubectl msd logs`."""

import click

from mistral_operator.api.autoscaling import AutoscalingStatus
from mistral_operator.kube.objects import Key
from mistral_operator.plugin.load import Sample, load_text
from mistral_operator.plugin.logs import merged
from mistral_operator.plugin.options import cluster_options, echo_notes, name_argument
from mistral_operator.plugin.read_load import read_load
from mistral_operator.plugin.read_logs import read_logs
from mistral_operator.plugin.reader import Reader
from mistral_operator.plugin.session import Access, in_cluster


@click.command()
@name_argument
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    default=5.0,
    show_default=True,
    help="Time over which tokens are counted.",
)
@cluster_options
def top(name: str, seconds: float, **access: str | None) -> None:
    """Show the load of each replica: requests, tokens per second, KV cache."""

    async def read(
        reader: Reader, namespace: str
    ) -> tuple[list[Sample], AutoscalingStatus | None, list[str]]:
        samples, scaling = await read_load(reader, Key(namespace, name), seconds)
        return samples, scaling, reader.notes

    samples, scaling, notes = in_cluster(Access(**access), read)
    click.echo(load_text(samples, scaling))
    echo_notes("not shown", notes)


@click.command()
@name_argument
@click.option("-p", "--previous", is_flag=True, help="Logs of the runs before the last restarts.")
@click.option(
    "--tail",
    type=click.IntRange(-1),
    default=200,
    show_default=True,
    help="Maximum lines of each log; -1 for all.",
)
@click.option("--timestamps", is_flag=True, help="Keep the timestamps.")
@cluster_options
def logs(name: str, previous: bool, tail: int, timestamps: bool, **access: str | None) -> None:
    """Print the logs of all containers of all replicas, in the order of time."""

    async def read(reader: Reader, namespace: str) -> tuple[dict[str, str], list[str]]:
        key = Key(namespace, name)
        return await read_logs(reader, key, previous=previous, lines=tail), reader.notes

    texts, notes = in_cluster(Access(**access), read)
    for line in merged(texts, timestamps=timestamps):
        click.echo(line)
    echo_notes("not shown", notes)
    if not texts and not notes:
        click.echo("no container has a log", err=True)
