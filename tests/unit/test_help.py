"""The help of every command: each group shows the whole sentence of each of its commands."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from mistral_dev.cli import main as mistral_dev
from mistral_operator.cli import main as mistral_operator
from mistral_operator.plugin.commands import msd
from mistral_server.cli.main import cli as mistral_server


def groups(group: click.Group, path: str) -> Iterator[tuple[str, click.Group]]:
    """Yield a group and those below it, each with its path."""
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from groups(command, f"{path} {name}")


GROUPS = {
    path: group
    for name, main in {
        "mistral-operator": mistral_operator,
        "mistral-server": mistral_server,
        "mistral_dev": mistral_dev,
        "kubectl msd": msd,
    }.items()
    for path, group in groups(main, name)
}


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_the_sentence_of_each_command_fits_into_its_line(group: click.Group) -> None:
    help_text = CliRunner().invoke(group, ["--help"], terminal_width=80).stdout

    commands = help_text.split("Commands:\n")[1].splitlines()
    assert len(commands) == len(group.commands)
    assert [line for line in commands if line.endswith("...")] == []
