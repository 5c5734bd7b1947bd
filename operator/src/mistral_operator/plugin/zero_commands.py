"""Commands that users of other operators look for: they explain, and change nothing.

The API has no field that scales an idle endpoint to zero before its time, or from zero without a
request: with `driver: Operator`, what is written to /scale has no effect.
"""

import click

from mistral_operator.plugin.options import cluster_options, name_argument


@click.command()
@name_argument
@cluster_options
def sleep_command(name: str, namespace: str | None, **_: str | None) -> None:
    """Say how an endpoint is scaled to zero; changes nothing."""
    raise click.ClickException(
        "nothing was changed: an idle endpoint is scaled to zero by itself if"
        f" spec.autoscaling.minReplicas is 0, and `kubectl msd suspend {name}{_option(namespace)}`"
        " stops it at once, but then requests start no replica"
    )


@click.command()
@name_argument
@cluster_options
def wake_command(name: str, namespace: str | None, **_: str | None) -> None:
    """Say how an endpoint is started from zero; changes nothing."""
    raise click.ClickException(
        "nothing was changed: an endpoint that is scaled to zero starts a replica for its next"
        f" request, such as that of `kubectl msd chat {name} hello{_option(namespace)}`, and"
        f" `kubectl msd resume {name}{_option(namespace)}` starts one that is suspended"
    )


def _option(namespace: str | None) -> str:
    return f" -n {namespace}" if namespace else ""
