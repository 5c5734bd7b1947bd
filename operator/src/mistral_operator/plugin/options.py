"""Options that all commands of `kubectl msd` share, and completion of names."""

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from mistral_operator.kube.kinds import RESOURCE
from mistral_operator.plugin.reader import Reader
from mistral_operator.plugin.session import Access, in_cluster
from mistral_server.contract import public_text

_Command = Callable[..., Any]
LONGEST_NOTE = 300
"""Characters that are shown of what could not be read."""
_ACCESS = ("kubeconfig", "context", "namespace")


def cluster_options(command: _Command) -> _Command:
    """Add the options that say which cluster and namespace, as kubectl names them."""
    for option in (
        click.option("-n", "--namespace", help="Namespace. Unset: that of the context."),
        click.option("--context", help="Context of the kubeconfig. Unset: the current one."),
        click.option("--kubeconfig", help="Path of the kubeconfig. Unset: as kubectl finds it."),
    ):
        command = option(command)
    return command


def name_argument(command: _Command) -> _Command:
    """Add the argument with the name of an endpoint."""
    return click.argument("name", shell_complete=_names)(command)


def echo_notes(prefix: str, notes: list[str]) -> None:
    """Say on standard error what could not be read."""
    for note in notes:
        click.echo(public_text(f"{prefix}: {note}", LONGEST_NOTE), err=True)


def _names(context: click.Context, _: click.Parameter, unfinished: str) -> list[CompletionItem]:
    """Return the endpoints of the namespace; none where the cluster does not answer."""

    async def read(reader: Reader, namespace: str) -> list[str]:
        listed = await reader.all(RESOURCE, namespace) or []
        return [str(one["metadata"]["name"]) for one in listed]

    try:
        access = Access(**{name: _chosen(context, name) for name in _ACCESS})
        names = in_cluster(access, read)
    except click.ClickException:
        return []
    return [CompletionItem(name) for name in names if name.startswith(unfinished)]


def _chosen(context: click.Context, name: str) -> str | None:
    """Return an option of a command line that is not complete: after the command, or before."""
    before = context.parent.params if context.parent else {}
    return context.params.get(name) or before.get(name)
