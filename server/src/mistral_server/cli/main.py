"""The command line ``mistral-server``.

This module defines the commands only. Imports are inside them, so that ``--help`` is fast and
``fetch`` does not load a web server.
"""

import sys
from pathlib import Path

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mistral-small-operator")
def cli() -> None:
    """Serve Mistral-Small on vLLM inside a pod."""
    from mistral_server.cli import logs

    logs.configure()


@cli.command()
def run() -> None:
    """Start the engine, supervise it, and drain it on SIGTERM.

    Settings come from the environment variable MISTRAL_SERVER_SETTINGS.
    """
    from mistral_server.cli import commands

    sys.exit(commands.run_command())


@cli.command()
def fetch() -> None:
    """Download the model, for a pod's init container.

    Settings come from the environment variable MISTRAL_FETCH_SETTINGS, the hub's token from
    HF_TOKEN.
    """
    from mistral_server.cli import commands

    sys.exit(commands.fetch_command())


@cli.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--repeats",
    type=click.IntRange(min=2),
    default=4,
    show_default=True,
    help="Minimum number of consecutive repetitions that counts as a loop.",
)
@click.option(
    "--min-tokens",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Minimum number of tokens in these repetitions.",
)
@click.option(
    "--max-period",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="Longest repetition, in tokens.",
)
def detect_loop(files: tuple[Path, ...], *, repeats: int, min_tokens: int, max_period: int) -> None:
    """Detect loops in generations.

    Prints one JSON line per file. A file contains text or a JSON list of token ids. Without files,
    standard input is read. Positions and lengths are in tokens, or in characters of text: four
    count as one token.
    """
    from mistral_server.cli import transcripts

    rule = transcripts.LoopRule(repeats=repeats, min_tokens=min_tokens, max_period=max_period)
    sys.exit(transcripts.detect_loops(files, rule))


@cli.command()
@click.option(
    "--request",
    type=click.Path(path_type=Path),
    required=True,
    help="Request, as sent to /v1/chat/completions.",
)
@click.option(
    "--response",
    "responses",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    help="Response: JSON, or the events of a stream as received. Can be repeated.",
)
def check_tool_call(request: Path, responses: tuple[Path, ...]) -> None:
    """Check tool calls against the request's tools.

    Prints one JSON line per response.
    """
    from mistral_server.cli import transcripts

    sys.exit(transcripts.check_tool_calls(request, responses))


@cli.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def classify(files: tuple[Path, ...]) -> None:
    """Classify failures from engine logs.

    Prints one JSON line per file. Without files, standard input is read. The class of a healthy log
    is null.
    """
    from mistral_server.cli import classify_files

    sys.exit(classify_files.classify_files(files))


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def learn_model(directory: Path) -> None:
    """Store model information for faster starts.

    vLLM otherwise determines it at each start. Run this command while an image is built, and set
    MISTRAL_LEARNT to the directory: pods of the image start some seconds faster.
    """
    from mistral_server.engine import model_registry

    for path in model_registry.learn(directory):
        click.echo(path)
