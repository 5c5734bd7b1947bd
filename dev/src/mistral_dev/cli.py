"""The command line `python -m mistral_dev`: a table of its commands, each made elsewhere."""

from __future__ import annotations

from typing import Any

import click

from mistral_dev.cluster_commands import cluster, tools
from mistral_dev.demo import demo
from mistral_dev.errors import DevError
from mistral_dev.generate import generate
from mistral_dev.gpu.cli import gpu
from mistral_dev.images.cli import images
from mistral_dev.lock import lock
from mistral_dev.panels.cli import panels
from mistral_dev.prepare import prepare
from mistral_dev.wording import wording


class PlainErrors(click.Group):
    """A group whose commands end with the message of a `DevError` instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the requested command."""
        try:
            return super().invoke(ctx)
        except DevError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=PlainErrors, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Tools for working on mistral-small-operator: a local cluster, images, a demo, GPUs."""


for _command in (tools, cluster, images, generate, prepare, demo, panels, lock, gpu, wording):
    main.add_command(_command)
