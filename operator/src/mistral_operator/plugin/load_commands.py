"""The commands `kubectl msd top` and `kubectl msd logs`."""

from collections.abc import Sequence

import click

from mistral_operator.kube.objects import Key
from mistral_operator.plugin.follow_logs import Follower
from mistral_operator.plugin.load import Load, load_text
from mistral_operator.plugin.logs import merged
from mistral_operator.plugin.notes import some
from mistral_operator.plugin.options import cluster_options, echo_notes, name_argument
from mistral_operator.plugin.read_load import read_load
from mistral_operator.plugin.read_logs import Logs, read_logs
from mistral_operator.plugin.reader import Reader
from mistral_operator.plugin.session import Access, in_cluster
from mistral_server.contract.lenient import printable


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
    """Show requests, tokens per second and KV cache of each replica.

    Exits with 1 if the load of no replica could be read.
    """

    async def read(reader: Reader, namespace: str) -> tuple[Load, list[str]]:
        return await read_load(reader, Key(namespace, name), seconds), reader.notes

    load, notes = in_cluster(Access(**access), read)
    click.echo(load_text(load))
    echo_notes("not shown", notes)
    if not load.is_known:
        raise SystemExit(1)


@click.command()
@name_argument
@click.option(
    "-f", "--follow", is_flag=True, help="Go on with lines that are written, until Ctrl-C."
)
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
def logs(
    name: str, follow: bool, previous: bool, tail: int, timestamps: bool, **access: str | None
) -> None:
    """Print the logs of all replicas, in the order of time.

    All containers of their pods are included. With --follow, lines come as they are written, also
    from pods that start later. Exits with 1 if there is no log, or none that could be read.
    """
    if follow and previous:
        raise click.UsageError("a run that has ended cannot be followed: remove -f or -p")
    if follow:
        _follow(name, tail, timestamps=timestamps, access=Access(**access))
        return

    async def read(reader: Reader, namespace: str) -> tuple[Logs, list[str]]:
        key = Key(namespace, name)
        return await read_logs(reader, key, previous=previous, lines=tail), reader.notes

    result, notes = in_cluster(Access(**access), read)
    for line in merged(result.texts, timestamps=timestamps):
        click.echo(line)
    echo_notes("not shown", notes)
    for log in result.unread:
        click.echo(f"not shown: the log of {printable(log)}", err=True)
    if not result.texts:
        if not notes:
            click.echo(_no_log(result.absent, previous=previous), err=True)
        raise SystemExit(1)


def _follow(name: str, tail: int, *, timestamps: bool, access: Access) -> None:
    async def read(reader: Reader, namespace: str) -> bool:
        follower = Follower(
            reader,
            Key(namespace, name),
            lines=tail,
            timestamps=timestamps,
            echo=click.echo,
            echo_note=lambda note: echo_notes("not shown", [note]),
        )
        return await follower.follow()

    if not in_cluster(access, read):
        raise SystemExit(1)


def _no_log(containers: Sequence[str], *, previous: bool) -> str:
    if not containers:
        return "no pod exists, so there is no log"
    when = "was started before" if previous else "was started yet"
    return f"no container {when}, so there is no log: {some(containers)}"
