"""The format of a log that quotes texts of other processes, for operator and server."""

import logging
from typing import Any

from mistral_server.contract.public_text import public_text

LONGEST_LINE = 4096
"""Characters of a line."""


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
