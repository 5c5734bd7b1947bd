"""The command `kubectl msd lint`."""

from typing import IO

import click

from mistral_operator.api.manifest_file import InvalidManifest, check_resources
from mistral_operator.kube.plurals import counted
from mistral_server.contract.lenient import printable


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.File(encoding="utf-8"))
def lint(files: tuple[IO[str], ...]) -> None:
    """Check resource files as strictly as the API server, without a cluster; - is stdin.

    It also finds fields that do not exist. Exits with 1 if a file is invalid.
    """
    total, problems = 0, list[str]()
    for file in files:
        try:
            number, messages = check_resources(file, file.name)
        except InvalidManifest as error:
            problems.append(str(error))
        else:
            total += number
            problems += [f"{file.name}: {message}" for message in messages]
    for problem in problems:
        click.echo(printable(problem), err=True)
    if problems:
        raise SystemExit(1)
    click.echo(f"{counted(total, 'resource')} {'is' if total == 1 else 'are'} valid")
