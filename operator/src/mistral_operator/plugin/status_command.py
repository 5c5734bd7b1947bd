"""The command `kubectl msd status`."""

import json

import click

from mistral_operator.kube.clock import now_text
from mistral_operator.kube.objects import Key
from mistral_operator.plugin.endpoint import Endpoint
from mistral_operator.plugin.endpoint_document import endpoint_document
from mistral_operator.plugin.endpoint_text import endpoint_text
from mistral_operator.plugin.options import cluster_options, name_argument
from mistral_operator.plugin.read_endpoint import read_endpoint
from mistral_operator.plugin.reader import Reader
from mistral_operator.plugin.session import Access, in_cluster


@click.command()
@name_argument
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Format.")
@cluster_options
def status(name: str, output: str, **access: str | None) -> None:
    """Show why an endpoint is as it is, and what to do.

    It also shows the endpoint's replicas, memory failures and Events.
    """

    async def read(reader: Reader, namespace: str) -> tuple[Endpoint, list[str]]:
        return await read_endpoint(reader, Key(namespace, name)), reader.notes

    endpoint, notes = in_cluster(Access(**access), read)
    if output == "json":
        click.echo(json.dumps(endpoint_document(endpoint, notes), indent=2))
    else:
        click.echo(endpoint_text(endpoint, notes, now_text()))
