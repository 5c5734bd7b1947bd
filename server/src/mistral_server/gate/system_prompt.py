"""The endpoint's system prompt: a template file with the current date.

A changed file is reloaded at the next request, so a new prompt needs no restart. The dates change
at midnight UTC, which invalidates the prefix cache once a day. A server whose file is missing or
not UTF-8 does not start: without its prompt, a model answers what its owner did not intend.
"""

import datetime
import logging
from collections.abc import Callable
from pathlib import Path

from mistral_server.contract import SystemPromptSettings
from mistral_server.errors import InvalidConfigurationError
from mistral_server.gate import metrics

_ENCODING = "utf-8-sig"
"""UTF-8; editors of other systems begin it with a byte order mark, which is not text."""

_log = logging.getLogger(__name__)


def _utc_today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


class SystemPrompt:
    """A template and its current contents."""

    def __init__(
        self, path: str, served_name: str, today: Callable[[], datetime.date] = _utc_today
    ) -> None:
        self._path = Path(path)
        self._name = served_name
        self._today = today
        self._template: str | None = None
        self._version: tuple[int, int, int] | None = None

    def render(self) -> str | None:
        """Return the prompt, or None if the file was never readable, which prevents the start.

        If the file becomes unreadable, its last content is used: a ConfigMap is replaced by
        renaming, and a partially deleted one must not change the responses.
        """
        self._reload()
        if self._template is None:
            return None
        today = self._today()
        yesterday = today - datetime.timedelta(days=1)
        # Not str.format: a template may contain JSON, and other braces are text.
        return (
            self._template.replace("{today}", today.isoformat())
            .replace("{yesterday}", yesterday.isoformat())
            .replace("{name}", self._name)
        )

    def _reload(self) -> None:
        try:
            stat = self._path.stat()
            version = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if version != self._version:
                self._template = self._path.read_text(encoding=_ENCODING)
                self._version = version
        except (OSError, UnicodeDecodeError) as error:
            metrics.ERRORS.labels("system_prompt").inc()
            _log.warning("Cannot read the system prompt %s: %s", self._path, error)


def check_system_prompt(settings: SystemPromptSettings | None) -> None:
    """Raise `InvalidConfigurationError` if the system prompt cannot be read."""
    if settings is None:
        return
    path = Path(settings.path)
    try:
        path.read_text(encoding=_ENCODING)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InvalidConfigurationError(
            f"Cannot read the file of system_prompt.path, {path.name}: {reason}. Add it, or use"
            " another source of the system prompt."
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidConfigurationError(
            f"The file of system_prompt.path, {path.name}, is not UTF-8: save it in that encoding."
        ) from error
