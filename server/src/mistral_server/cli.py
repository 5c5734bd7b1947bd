"""The command line ``mistral-server``.

It holds the commands' names and nothing else: their imports stay inside, so that ``--help`` is
quick and ``fetch`` does not load a web server.
"""

import logging
import sys

import click


@click.group()
@click.version_option(package_name="mistral-small-operator")
def cli() -> None:
    """Serve Mistral-Small on vLLM inside a pod."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="mistral-server %(levelname)s %(asctime)s [%(name)s] %(message)s",
    )


@cli.command()
def run() -> None:
    """Start the engine, watch over it, and drain it on SIGTERM.

    Settings come from the environment variable MISTRAL_SERVER_SETTINGS.
    """
    from mistral_server import commands

    sys.exit(commands.run())


@cli.command()
def fetch() -> None:
    """Download the model, for a pod's init container.

    Settings come from the environment variable MISTRAL_FETCH_SETTINGS, the hub's token from
    HF_TOKEN.
    """
    from mistral_server import commands

    sys.exit(commands.fetch())
