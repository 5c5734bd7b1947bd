"""Run a command: read settings, run, and turn a failure into a report and an exit code."""

import logging
import os
from pathlib import Path
from typing import TypeVar

import pydantic

from mistral_server.cli import logs
from mistral_server.contract import (
    COMPILE_CACHE_ENV,
    FETCH_SETTINGS_ENV,
    SERVER_SETTINGS_ENV,
    FetchSettings,
    ServerSettings,
    Stage,
)
from mistral_server.errors import InvalidConfigurationError, ServerError
from mistral_server.supervisor import termination

_log = logging.getLogger(__name__)

Settings = TypeVar("Settings", ServerSettings, FetchSettings)


def run_command() -> int:
    """Run a server and return the exit code."""
    try:
        settings = read_settings(ServerSettings, SERVER_SETTINGS_ENV)
    except ServerError as error:
        return _report_failure(error)
    logs.configure(settings.logs)
    from mistral_server.supervisor import supervisor  # imports the web server and the client

    return supervisor.run_server(settings)


def fetch_command() -> int:
    """Fetch a model and return the exit code."""
    from mistral_server.model import fetch
    from mistral_server.model.progress import Progress
    from mistral_server.supervisor import fetch_signals

    try:
        settings = read_settings(FetchSettings, FETCH_SETTINGS_ENV)
        logs.configure(settings.logs)
        _make_compile_directory()
        progress = Progress(Path(settings.directory))
        with fetch_signals.serving(progress, settings.health_port):
            fetch.fetch_model(settings, progress)
    except ServerError as error:
        return _report_failure(error)
    return 0


def _make_compile_directory() -> None:
    """Make the directory of the compile cache before the kubelet mounts it.

    On NFS, the kubelet's user is often mapped to one that may not. If neither can, as on a full
    claim, the kubelet does not create the server's container, and does not say why.
    """
    from mistral_server.supervisor import compile_directory

    if root := os.environ.get(COMPILE_CACHE_ENV):
        try:
            compile_directory.make_root(Path(root))
        except OSError as error:
            _log.warning("Cannot create the directory of compiled code: %s", error)


def read_settings(kind: type[Settings], variable: str) -> Settings:
    """Return the settings in an environment variable.

    Raises:
        InvalidConfigurationError: it is not set, or is not valid for `kind`.
    """
    text = os.environ.get(variable)
    if text is None:
        raise InvalidConfigurationError(
            f"The environment variable {variable} is not set; the operator renders it into the pod."
        )
    try:
        return kind.model_validate_json(text)
    except pydantic.ValidationError as error:
        # Without the input: a report is public, and a misplaced value may be secret.
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'document'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise InvalidConfigurationError(f"{variable} cannot be used: {problems}") from None


def _report_failure(error: ServerError) -> int:
    """Report a failure that precedes the settings, to the default path."""
    termination.write_report(
        termination.make_report(error, Stage.STARTING, 0), termination.DEFAULT_PATH
    )
    return error.exit_code
