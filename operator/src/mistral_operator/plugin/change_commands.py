"""The commands `kubectl msd restart`, `suspend` and `resume`."""

import click

from mistral_operator.kube.clock import now_text
from mistral_operator.kube.objects import Key
from mistral_operator.plugin.actions import restart as restart_pods
from mistral_operator.plugin.actions import set_suspended
from mistral_operator.plugin.options import cluster_options, name_argument
from mistral_operator.plugin.reader import Reader
from mistral_operator.plugin.session import Access, in_cluster


@click.command()
@name_argument
@cluster_options
def restart(name: str, **access: str | None) -> None:
    """Replace all pods of an endpoint, one at a time.

    It does what `kubectl rollout restart` of the Deployment does.
    """

    async def act(reader: Reader, namespace: str) -> str:
        return await restart_pods(reader, Key(namespace, name), now_text())

    click.echo(in_cluster(Access(**access), act))


@click.command()
@name_argument
@cluster_options
def suspend(name: str, **access: str | None) -> None:
    """Stop all replicas and free their GPUs: sets spec.suspend to true."""

    async def act(reader: Reader, namespace: str) -> str:
        return await set_suspended(reader, Key(namespace, name), suspended=True)

    click.echo(in_cluster(Access(**access), act))


@click.command()
@name_argument
@cluster_options
def resume(name: str, **access: str | None) -> None:
    """Start a suspended endpoint: sets spec.suspend to false."""

    async def act(reader: Reader, namespace: str) -> str:
        return await set_suspended(reader, Key(namespace, name), suspended=False)

    click.echo(in_cluster(Access(**access), act))
