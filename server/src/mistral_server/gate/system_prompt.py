"""The deployment's system prompt: a template in a file, filled in for today.

A changed file is read again at the next request, so a new prompt needs no restart; the dates change
at midnight UTC, which costs the prefix cache once a day.
"""

import datetime
import logging
from collections.abc import Callable
from pathlib import Path

_log = logging.getLogger(__name__)


def _utc_today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


class SystemPrompt:
    """A template and what it says now."""

    def __init__(
        self, path: str, served_name: str, today: Callable[[], datetime.date] = _utc_today
    ) -> None:
        self._path = Path(path)
        self._name = served_name
        self._today = today
        self._template: str | None = None
        self._version: tuple[int, int, int] | None = None

    def render(self) -> str | None:
        """Return the prompt, None if the file was never readable.

        A file that cannot be read any more keeps its last content: a ConfigMap is replaced by
        renaming, and a half-deleted one must not change how the model answers.
        """
        self._reload()
        if self._template is None:
            return None
        today = self._today()
        yesterday = today - datetime.timedelta(days=1)
        # Not str.format: a template may quote JSON, and its other braces are text.
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
