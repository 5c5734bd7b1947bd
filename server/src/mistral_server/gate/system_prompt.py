"""The endpoint's system prompt: a template file with the current date.

A changed file is reloaded at the next request, so a new prompt needs no restart. The dates change
at midnight UTC, which invalidates the prefix cache once a day.
"""

import datetime
import logging
from collections.abc import Callable
from pathlib import Path

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
        """Return the prompt, or None if the file was never readable.

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
                self._template = self._path.read_text(encoding="utf-8")
                self._version = version
        except (OSError, UnicodeDecodeError) as error:
            _log.warning("Cannot read the system prompt %s: %s", self._path, error)
