"""Completion of `kubectl msd` in the shell: what kubectl runs as `kubectl_complete-msd`.

kubectl passes the words after `msd`, the last one unfinished, and reads a candidate a line, with
its description after a tab, and at the end a colon with a number: 4 means no names of files.
"""

import sys
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem, ShellComplete

from mistral_operator.plugin.commands import msd

_NO_FILES = 4
_FILES = 0
_LONGEST_SENTENCE = 200
"""Characters of a description; shells cut it to their width."""


def candidates(words: Sequence[str]) -> list[str]:
    """Return the lines that kubectl reads."""
    *before, unfinished = words or [""]
    items = ShellComplete(msd, {}, "kubectl msd", "_KUBECTL_MSD_COMPLETE").get_completions(
        list(before), unfinished
    )
    wants_file = any(item.type == "file" for item in items)
    lines = [_line(item) for item in items if item.type == "plain"]
    return [*lines, f":{_FILES if wants_file else _NO_FILES}"]


def _line(item: CompletionItem) -> str:
    """Return a candidate; click cuts the sentences of commands after 45 characters."""
    command = msd.commands.get(item.value)
    text = command.get_short_help_str(_LONGEST_SENTENCE) if command and item.help else item.help
    return f"{item.value}\t{text.removesuffix('.')}" if text else str(item.value)


def main() -> None:
    """Print the candidates for the words of the command line."""
    click.echo("\n".join(candidates(sys.argv[1:])))
