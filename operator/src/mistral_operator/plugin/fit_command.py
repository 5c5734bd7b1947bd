"""The command `kubectl msd fit`."""

from typing import IO

import click

from mistral_operator import cli_fit
from mistral_operator.api import parse_spec
from mistral_operator.api.manifest_file import InvalidManifest, read_resources
from mistral_operator.kube.kinds import NODE
from mistral_operator.kube.transport import Object
from mistral_operator.plugin.node_fit import fits
from mistral_operator.plugin.options import cluster_options, echo_notes
from mistral_operator.plugin.reader import Reader
from mistral_operator.plugin.session import Access, in_cluster
from mistral_server.contract.lenient import printable


@click.command()
@click.option(
    "-f",
    "--file",
    "source",
    type=click.File(encoding="utf-8"),
    help="Resource file; - is stdin. Unset: `spec: {}`.",
)
@click.option(
    "-o", "--output", type=click.Choice(["text", "table", "json"]), default="text", help="Format."
)
@cluster_options
def fit(source: IO[str] | None, output: str, **access: str | None) -> None:
    """Check whether a resource fits the GPUs of the cluster's nodes.

    Exits with 1 if it fits none of them.
    """
    try:
        specs = [one.spec for one in read_resources(source, source.name)] if source else []
    except InvalidManifest as error:
        raise click.ClickException(str(error)) from error

    async def read(reader: Reader, _: str) -> tuple[list[Object] | None, list[str]]:
        return await reader.all(NODE), reader.notes

    nodes, notes = in_cluster(Access(**access), read)
    echo_notes("not checked", notes)
    if nodes is None:
        raise SystemExit(1)
    fit_somewhere = True
    for spec in specs or [parse_spec({})]:
        result = fits(spec, nodes, None)
        for reason in result.left_out:
            click.echo(printable(reason), err=True)
        if not result.cases and not result.left_out:
            click.echo(f"no node offers {spec.pod.gpu.resource_name}", err=True)
        cli_fit.print_cases(result.cases, output)
        fit_somewhere &= any(one.fits for one in result.cases)
    if not fit_somewhere:
        raise SystemExit(1)
