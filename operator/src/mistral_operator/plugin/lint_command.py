"""The command `kubectl msd lint`."""

from typing import IO

import click

from mistral_operator.api import Resource
from mistral_operator.api.manifest_file import InvalidManifest, check_resources
from mistral_operator.kube.plurals import counted
from mistral_operator.render import RenderContext
from mistral_operator.render.allowed import check_without_lists
from mistral_operator.render.file_notes import file_notes
from mistral_server.contract.lenient import printable

_ANY_INSTALLATION = RenderContext(server_image="")
"""An installation of which nothing is known: its lists are empty."""


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.File(encoding="utf-8"))
def lint(files: tuple[IO[str], ...]) -> None:
    """Check resource files as strictly as API server and operator do.

    It needs no cluster, and also finds fields that do not exist; - is stdin. Notes say what the
    administrator of the installation has to allow. Exits with 1 if a file is invalid.
    """
    total, problems, notes = 0, list[str](), list[str]()

    def check(resource: Resource) -> None:
        check_without_lists(resource.spec, _ANY_INSTALLATION)
        notes.extend(f"{file.name}: {note}" for note in file_notes(resource, _ANY_INSTALLATION))

    for file in files:
        try:
            number, messages = check_resources(file, file.name, check)
        except InvalidManifest as error:
            problems.append(str(error))
        else:
            total += number
            problems += [f"{file.name}: {message}" for message in messages]
    for text in (*(f"Note: {note}" for note in notes), *problems):
        click.echo(printable(text), err=True)
    if problems:
        raise SystemExit(1)
    click.echo(f"{counted(total, 'resource')} {'is' if total == 1 else 'are'} valid")
