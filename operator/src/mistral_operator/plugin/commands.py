"""The commands of `kubectl msd`, the same program as `mistral-operator`."""

import click

from mistral_operator.plugin.change_commands import restart, resume, suspend
from mistral_operator.plugin.chat_command import chat
from mistral_operator.plugin.doctor_command import doctor
from mistral_operator.plugin.fit_command import fit
from mistral_operator.plugin.lint_command import lint
from mistral_operator.plugin.load_commands import logs, top
from mistral_operator.plugin.options import cluster_options
from mistral_operator.plugin.status_command import status
from mistral_operator.plugin.support_command import support
from mistral_operator.plugin.zero_commands import sleep_command, wake_command


@click.group(name="kubectl msd", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mistral-small-operator", prog_name="kubectl msd")
@cluster_options
@click.pass_context
def msd(context: click.Context, /, **access: str | None) -> None:
    """Inspect MistralSmallDeployments, with your own kubeconfig and permissions."""
    # kubectl takes these options before a command too; the one after it counts.
    context.default_map = dict.fromkeys(msd.commands, access)


for command in (
    *(status, doctor, support, lint, fit, chat, logs, top, restart, suspend, resume),
    *(sleep_command, wake_command),
):
    msd.add_command(command)


def main() -> None:
    """Run `kubectl-msd`; kubectl hides the name of the program."""
    msd(prog_name="kubectl msd")
