"""The format of a log that quotes texts of other processes, for operator and server."""

import json
import logging
from typing import Any

from mistral_server.contract.public_text import public_text

LONGEST_LINE = 4096
"""Characters of a line."""

TIME = "%Y-%m-%dT%H:%M:%S%z"
TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class PublicFormatter(logging.Formatter):
    """Formats a log record as one line, and a traceback below it.

    Messages quote texts of other processes: what could forge a line or control a terminal, and what
    looks like a secret, is left out.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line."""
        record.message = public_text(record.message, LONGEST_LINE)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return the traceback."""
        lines = super().formatException(ei).splitlines()
        return "\n".join(public_text(line, LONGEST_LINE) for line in lines)


class JsonFormatter(PublicFormatter):
    """Formats a log record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, logger, message and traceback, if any."""
        entry = {
            "time": self.formatTime(record, TIME),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": public_text(record.getMessage(), LONGEST_LINE),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def formatter(*, as_json: bool) -> logging.Formatter:
    """Return the formatter of a log of text or of JSON, with date and zone."""
    return JsonFormatter() if as_json else PublicFormatter(TEXT, TIME)
