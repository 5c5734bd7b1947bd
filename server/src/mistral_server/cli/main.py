"""The command line ``mistral-server``.

It holds the commands' names and nothing else: their imports stay inside, so that ``--help`` is
quick and ``fetch`` does not load a web server.
"""

import logging
import sys
from pathlib import Path

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
    from mistral_server.cli import commands

    sys.exit(commands.run())


@cli.command()
def fetch() -> None:
    """Download the model, for a pod's init container.

    Settings come from the environment variable MISTRAL_FETCH_SETTINGS, the hub's token from
    HF_TOKEN.
    """
    from mistral_server.cli import commands

    sys.exit(commands.fetch())


@cli.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--repeats", default=4, show_default=True, help="Copies from which on it is a loop.")
@click.option(
    "--min-tokens", default=256, show_default=True, help="Tokens that they have at least."
)
@click.option("--max-period", default=1024, show_default=True, help="Tokens of the longest copy.")
def detect_loop(files: tuple[Path, ...], *, repeats: int, min_tokens: int, max_period: int) -> None:
    """Say whether generations loop, one JSON line for each file.

    A file is a text, or a JSON list of token ids; without files it is standard input. Positions
    and lengths are in tokens, or in characters of a text, four of which count for a token.
    """
    from mistral_server.cli import transcripts

    rule = transcripts.LoopRule(repeats=repeats, min_tokens=min_tokens, max_period=max_period)
    sys.exit(transcripts.detect_loops(files, rule))


@cli.command()
@click.option(
    "--request",
    type=click.Path(path_type=Path),
    required=True,
    help="The request, as it was sent to /v1/chat/completions.",
)
@click.option(
    "--response",
    "responses",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    help="The answer: JSON, or the events of a stream as they came. May be given several times.",
)
def check_tool_call(request: Path, responses: tuple[Path, ...]) -> None:
    """Judge the tool calls of answers by the request's own tools, one JSON line for each."""
    from mistral_server.cli import transcripts

    sys.exit(transcripts.check_tool_calls(request, responses))


@cli.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def classify(files: tuple[Path, ...]) -> None:
    """Say from engines' logs why they ended, one JSON line for each file.

    Without files the log is standard input. The class of a healthy log is null.
    """
    from mistral_server.cli import classify_files

    sys.exit(classify_files.classify_files(files))


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def learn_model(directory: Path) -> None:
    """Keep in a directory what vLLM has to find out about the model's classes.

    Run it when an image is built and set MISTRAL_LEARNT to the directory: its pods start some
    seconds earlier.
    """
    from mistral_server.engine import model_registry

    for path in model_registry.learn(directory):
        click.echo(path)
