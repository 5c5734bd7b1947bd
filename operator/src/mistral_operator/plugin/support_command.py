"""The command `kubectl msd support`."""

from pathlib import Path

import click

from mistral_operator.kube.clock import now_text
from mistral_operator.kube.objects import Key
from mistral_operator.kube.plurals import counted
from mistral_operator.plugin.options import cluster_options, echo_notes, name_argument
from mistral_operator.plugin.reader import Reader
from mistral_operator.plugin.session import Access, in_cluster
from mistral_operator.plugin.support import Collector, write_archive


@click.command()
@name_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Archive to write, such as small.tar.gz.",
)
@click.option(
    "--lines",
    type=click.IntRange(0),
    default=5000,
    show_default=True,
    help="Maximum lines of each log.",
)
@cluster_options
def support(name: str, output: Path, lines: int, **access: str | None) -> None:
    """Collect what others need to help, without Secrets, in an archive.

    It has the resource, its children, pods, nodes, Events, logs, signals and metrics. Neither
    Secrets nor ConfigMaps are read, and values of environment variables are left out.
    """

    async def collect(reader: Reader, namespace: str) -> tuple[dict[str, str], list[str]]:
        collector = Collector(reader, Key(namespace, name), lines, now_text())
        return await collector.collect(), reader.notes

    files, notes = in_cluster(Access(**access), collect)
    try:
        write_archive(output, f"support-{name}", files)
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error
    echo_notes("not collected", notes)
    click.echo(f"{output}: {counted(len(files), 'file')}; read them before you pass them on")
