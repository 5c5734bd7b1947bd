"""The command `kubectl msd doctor`."""

import click

from mistral_operator.plugin.doctor import Snapshot, all_clear, diagnose
from mistral_operator.plugin.options import cluster_options, echo_notes
from mistral_operator.plugin.read_snapshot import SnapshotReader
from mistral_operator.plugin.reader import Reader
from mistral_operator.plugin.session import Access, in_cluster
from mistral_server.contract.lenient import printable


@click.command()
@click.option(
    "--operator-namespace", help="Namespace of the operator. Unset: it is looked for in all."
)
@cluster_options
def doctor(operator_namespace: str | None, **access: str | None) -> None:
    """Find what keeps the endpoints of a namespace from working.

    Before an installation it checks nodes and namespace for the recommended deployment. Prints a
    line for each problem, with its object and a remedy. Exits with 1 if there is any, or if the
    endpoints of the namespace may not be read.
    """

    async def read(reader: Reader, namespace: str) -> tuple[Snapshot, list[str]]:
        return await SnapshotReader(reader, namespace, operator_namespace).read(), reader.notes

    snapshot, notes = in_cluster(Access(**access), read)
    findings = diagnose(snapshot)
    for finding in findings:
        click.echo(printable(str(finding)))
    echo_notes("not checked", notes)
    if not findings:
        click.echo(all_clear(snapshot, notes))
    if findings or snapshot.resources is None:
        raise SystemExit(1)
